"""Settings: where they come from, who wins, and how every mistake is named."""

from dataclasses import fields
from pathlib import Path

import pytest

from app.resolved import chunk_settings, doubt_settings, pipeline_settings, retriever_settings, server_settings
from app.settings import ROOT, Settings, known_keys, load_settings, variable
from app.wiring import build_observer
from generator.doubt import DoubtSettings
from generator.pipeline import PipelineSettings
from generator.server import ServerSettings
from indexer.chunk import ChunkSettings
from indexer.errors import ConfigError
from retriever.search import RetrieverSettings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No footnote.toml in the way."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("app.settings.ROOT", tmp_path / "no-such-folder")


def write(folder: Path, text: str) -> Path:
    file = folder / "footnote.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults_need_nothing() -> None:
    settings = load_settings(None, {})
    assert settings == Settings()
    assert settings.home == ROOT / ".footnote"
    assert settings.models_dir == ROOT / ".footnote" / "models"


def test_defaults_are_those_of_the_rooms_below() -> None:
    assert retriever_settings(Settings()) == RetrieverSettings()
    assert chunk_settings(Settings()) == ChunkSettings()
    assert pipeline_settings(Settings()) == PipelineSettings()
    assert server_settings(Settings()) == ServerSettings(base_url="")


def test_doubt_is_weighed_for_a_server_that_is_told_when() -> None:
    weights = {f"FOOTNOTE_GENERATOR__ABSTENTION__{name}": "0.5" for name in ("BIAS", "LOG_P", "DECLINE_ABOVE")}
    assert doubt_settings(load_settings(None, weights)) is None  # the embedded reader has its own choice
    server = {"FOOTNOTE_GENERATOR__BASE_URL": "http://127.0.0.1:9/v1"}
    assert doubt_settings(load_settings(None, server)) is None
    assert doubt_settings(load_settings(None, server | weights)) == DoubtSettings(0.5, log_p=0.5, decline_above=0.5)
    assert {field.name for field in fields(DoubtSettings)} == set(Settings().generator.abstention.model_dump())


def test_telemetry_is_built_only_where_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[object, ...]] = []
    monkeypatch.setattr("app.wiring._observer", lambda *about: made.append(about))
    build_observer(Settings())
    assert made == []
    build_observer(load_settings(None, {"FOOTNOTE_TELEMETRY__OTLP_ENDPOINT": "http://127.0.0.1:4318"}))
    assert made == [("http://127.0.0.1:4318", False, False)]


def test_every_field_of_the_retriever_can_be_set() -> None:
    keys = {key for key, _ in known_keys()}
    assert {f"retriever.{field.name}" for field in fields(RetrieverSettings)} <= keys


def test_a_variable_wins_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "[retriever]\nrrf_k = 10\ncandidates = 7\n[ui]\nport = 9000\n")
    settings = load_settings(file, {"FOOTNOTE_RETRIEVER__RRF_K": "20", "FOOTNOTE_UI__PORT": "9001"})
    assert (settings.retriever.rrf_k, settings.retriever.candidates, settings.ui.port) == (20, 7, 9001)


def test_the_file_is_found_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, port in (("option", 1001), ("variable", 1002), ("here", 1003), ("root", 1004)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, f"[ui]\nport = {port}\n")
    monkeypatch.setattr("app.settings.ROOT", tmp_path / "root")
    named = {"FOOTNOTE_CONFIG": str(tmp_path / "variable" / "footnote.toml")}
    monkeypatch.chdir(tmp_path / "here")
    assert load_settings(tmp_path / "option" / "footnote.toml", named).ui.port == 1001
    assert load_settings(None, named).ui.port == 1002
    assert load_settings(None, {}).ui.port == 1003
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {}).ui.port == 1004


def test_relative_paths_are_meant_from_where_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    file = write(tmp_path / "etc", 'home = "data"\n[encoder]\nadapter = "../mine"\nmodel = "smollm2"\n')
    settings = load_settings(file, {"FOOTNOTE_RETRIEVER__RERANKER": "~/ranker"})
    assert settings.home == tmp_path / "etc" / "data"
    assert Path(settings.encoder.adapter) == tmp_path / "etc" / ".." / "mine"
    assert settings.encoder.model == "smollm2"
    assert settings.retriever.reranker == str(Path("~/ranker").expanduser())
    assert load_settings(None, {"FOOTNOTE_HOME": "here"}).home == tmp_path / "here"


def test_the_reranker_is_a_folder_or_on_the_hub_or_the_generator(tmp_path: Path) -> None:
    file = tmp_path / "footnote.toml"
    meant = {"ranker": str(tmp_path / "ranker"), "owner/ranker": "owner/ranker", "generator": "generator"}
    for written, name in meant.items():
        file.write_text(f'[retriever]\nreranker = "{written}"\n', encoding="utf-8")
        assert load_settings(file, {}).retriever.reranker == name
    (tmp_path / "owner" / "ranker").mkdir(parents=True)
    file.write_text('[retriever]\nreranker = "owner/ranker"\n', encoding="utf-8")
    assert load_settings(file, {}).retriever.reranker == str(tmp_path / "owner" / "ranker")


def test_the_nli_model_is_a_folder_or_on_the_hub(tmp_path: Path) -> None:
    file = tmp_path / "footnote.toml"
    for written, meant in (("nli", str(tmp_path / "nli")), ("owner/nli-small", "owner/nli-small")):
        file.write_text(f'[generator]\nnli_model = "{written}"\n', encoding="utf-8")
        assert load_settings(file, {}).generator.nli_model == meant


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("[retriever]\ndense_wieght = 1\n", "retriever.dense_wieght", "retriever.dense_weight"),
        ("[retreiver]\ncandidates = 1\n", "retreiver.candidates", "retriever.candidates"),
        ("prot = 1\n", "prot", "docs/footnote.toml.example"),
        ("[ui.port]\nnumber = 1\n", "ui.port.number", "ui.port"),
        ("indexer = 5\n", "indexer", "docs/footnote.toml.example"),
        ("[generator]\nbase_url = 5\n", "generator.base_url = 5", "string"),
        ("[retriever]\ncandidates = 'many'\n", "retriever.candidates = 'many'", "integer"),
        ("[retriever]\ndense_weight = 1.5\n", "retriever.dense_weight = 1.5", "less than or equal to 1"),
        ("[retriever]\nfusion = 'sum'\n", "retriever.fusion = 'sum'", "'convex' or 'rrf'"),
        ("home = ''\n", "home", "Name a folder"),
        ("[ui\n", "is not TOML", "Correct that line"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path: Path, text: str, message: str, remedy: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(file, {})
    assert message in caught.value.message
    assert str(file) in caught.value.message
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "value", "message", "remedy"),
    [
        ("FOOTNOTE_RETREIVER__RRF_K", "1", "FOOTNOTE_RETREIVER__RRF_K", "FOOTNOTE_RETRIEVER__RRF_K"),
        ("FOOTNOTE_UI_PORT", "1", "FOOTNOTE_UI_PORT", "FOOTNOTE_UI__PORT"),
        ("FOOTNOTE_UI__PORT", "http", "ui.port = 'http' in the variable FOOTNOTE_UI__PORT", "integer"),
        ("FOOTNOTE_HOME", "", "home in the variable FOOTNOTE_HOME is empty", "Name a folder"),
        ("FOOTNOTE_CONFIG", "/nowhere/footnote.toml", "/nowhere/footnote.toml", "FOOTNOTE_CONFIG"),
    ],
)
def test_mistakes_in_variables_are_named(name: str, value: str, message: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {name: value})
    assert message in caught.value.message
    assert remedy in caught.value.remedy


def test_variables_that_are_no_settings_are_left_alone() -> None:
    environ = {"FOOTNOTE_PYTHON": "python3", "FOOTNOTE_BENCH": "../b", "FOOTNOTE_TEST_ANY": "1", "PATH": "/bin"}
    assert load_settings(None, environ) == Settings()


def test_a_key_is_never_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, "[generator]\napi_key = 12345\n"), {})
    assert "12345" not in caught.value.message + caught.value.remedy
    settings = load_settings(None, {"FOOTNOTE_GENERATOR__API_KEY": "hush"})
    assert "hush" not in repr(settings)
    assert settings.generator.api_key.get_secret_value() == "hush"


def test_the_example_file_is_complete_and_true(tmp_path: Path) -> None:
    """Every key is in it; without the comment signs it loads to the defaults."""
    from app.example import example

    text = (ROOT / "docs" / "footnote.toml.example").read_text(encoding="utf-8")
    assert text == example(), "run: python -m app.example > docs/footnote.toml.example"
    lines = [
        line.removeprefix("#") if line.startswith("#") and line[1:2] != " " else line for line in text.splitlines()
    ]
    assert {key.rpartition(".")[2] for key, _ in known_keys()} == {
        line.split(" =")[0] for line in lines if " = " in line
    }
    settings = load_settings(write(tmp_path, "\n".join(line for line in lines if not line.endswith("# not set"))), {})
    assert settings == Settings(home=tmp_path / ".footnote")


def test_the_reference_names_every_key_with_what_it_takes() -> None:
    from app.reference import reference

    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert text == reference(), "run: python -m app.reference > docs/settings.md"
    rows = {cells[3].strip("`"): cells for line in text.splitlines() if len(cells := line.split(" | ")) == 5}
    assert {variable(key) for key, _ in known_keys()} <= set(rows)
    values = {name: cells[1] for name, cells in rows.items()}
    assert values["FOOTNOTE_RETRIEVER__DENSE_WEIGHT"] == "number, at least 0, at most 1"
    assert values["FOOTNOTE_RETRIEVER__FUSION"] == "`convex`, `rrf`"
    assert values["FOOTNOTE_ENCODER__ADAPTER"] == "text or list of texts"
    assert values["FOOTNOTE_GENERATOR__API_KEY"] == "secret"
    assert rows["FOOTNOTE_RETRIEVER__RERANKER"][2] == "not set"


def test_every_key_has_its_words() -> None:
    silent = [key for key, field in known_keys() if not field.description]
    assert not silent
    assert variable("retriever.rrf_k") == "FOOTNOTE_RETRIEVER__RRF_K"
