"""`footnote eval encoder`: shape, gates, names of encoders, and what is refused."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.encoders import build_named_encoder
from app.settings import Settings, load_settings
from indexer.errors import ConfigError, ModelError

ROOT = Path(__file__).parents[2]
Footnote = Callable[..., Any]
needs_mteb = pytest.mark.skipif(
    importlib.util.find_spec("mteb") is None, reason="mteb is not installed (requirements-mteb.txt)"
)


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "island"
    folder.mkdir()
    texts = {"tower": "the tower is tall", "ferry": "the ferry leaves at nine"}
    (folder / "corpus.jsonl").write_text("".join(json.dumps({"_id": i, "text": t}) + "\n" for i, t in texts.items()))
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "tower tall"}\n{"_id": "q2", "text": "ferry nine"}\n')
    (folder / "qrels.tsv").write_text("q1\ttower\t1\nq2\tferry\t1\n")
    return folder


def test_the_document_has_the_promised_shape(footnote: Footnote, beir: Path) -> None:
    result = footnote("eval", "encoder", "--tasks", beir, "--json")
    assert result.code == 0
    assert result.json["tasks"] == {"island": "retrieval"}
    (told,) = result.json["encoders"]
    assert set(told) == {"encoder", "fingerprint", "run", "tasks", "mean"}
    assert told["tasks"]["island"]["ndcg@10"] | {"meaning": ""} == {
        "mean": 1.0, "ci95": [1.0, 1.0], "n": 2, "of": 2, "method": "ir_measures", "meaning": "",
    }  # fmt: skip
    assert (told["fingerprint"], told["mean"]) == ("words-1", 1.0)
    assert footnote("eval", "report", told["run"], "--out", "page.md").code == 0


def test_encoders_stand_side_by_side(footnote: Footnote, beir: Path) -> None:
    result = footnote("eval", "encoder", "--tasks", beir, "--encoder", "default", "--encoder", "none:weighted_mean")
    assert result.code == 0
    head, row, *_ = result.stdout.splitlines()
    assert "smollm2, no adapter, weighted_mean" in head
    assert row.split() == ["island", "ndcg@10", *("1.000", "(1.000", "to", "1.000)") * 2, "2"]
    assert result.stdout.count("Run: ") == 2


def test_gates_name_the_task(footnote: Footnote, beir: Path) -> None:
    command = ("eval", "encoder", "--tasks", beir, "--json", "--fail-below")
    assert footnote(*command, "island.ndcg@10=0.9").code == 0
    failed = footnote(*command, "sts.spearman=0.9")
    assert failed.code == 1
    assert "sts.spearman has a floor, and sts was not evaluated." in failed.stderr


def test_wrong_tasks_and_encoders_are_refused(footnote: Footnote, beir: Path, tmp_path: Path) -> None:
    (beir / "qrels.tsv").write_text("q1\tnowhere\t1\n")
    result = footnote("eval", "encoder", "--tasks", beir, "--json")
    assert result.code == 1
    assert "qrels.tsv, line 1" in result.json["error"]["message"]
    assert footnote("eval", "encoder", "--tasks", tmp_path / "none").code == 1
    assert footnote("eval", "encoder").code == 2


@needs_mteb
def test_our_own_tasks_are_measured(footnote: Footnote) -> None:
    result = footnote("eval", "encoder", "--tasks", ROOT / "data" / "encoder-tasks", "--json")
    assert result.code == 0
    main = {"classify": "accuracy", "cluster": "v_measure", "pairs": "ap", "rerank": "map", "sts": "spearman"}
    tasks = result.json["encoders"][0]["tasks"]
    assert set(tasks) == set(main)
    for name, metric in main.items():
        low, high = tasks[name][metric]["ci95"]
        assert low < tasks[name][metric]["mean"] < high
        assert tasks[name][metric]["method"].startswith("mteb")


@pytest.fixture
def settings(home: Path) -> Settings:
    return load_settings(None)


def test_an_encoder_is_named_by_adapters_and_pooling(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Any] = []
    monkeypatch.setattr("app.wiring._encoder", lambda section, models_dir: built.append(section))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text("{}")
    _, told = build_named_encoder(settings, "a+b:mean")
    assert (built[0].adapter, built[0].pooling, told) == (
        (str(tmp_path / "a"), str(tmp_path / "b")),
        "mean",
        "smollm2+a+b, mean",
    )
    _, told = build_named_encoder(settings, "none")
    assert (built[1].adapter, built[1].pooling, told) == ("none", "auto", "smollm2, no adapter")


def test_an_encoder_that_is_none_is_refused(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="There is no encoder nothing"):
        build_named_encoder(settings, "nothing")
    with pytest.raises(ModelError, match="There is no pooling 'sum'"):
        build_named_encoder(settings, "none:sum")


def test_causal_is_the_base_as_it_was_pretrained(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr("app.encoders.model_source", lambda section, models_dir: "base")
    monkeypatch.setattr("indexer.llm2vec.encoder.load_encoder", lambda *a, **more: asked.update(more, model=a))
    _, told = build_named_encoder(settings, "causal")
    assert (asked["model"], asked["causal"], told) == (("base", ()), True, "smollm2, causal")
