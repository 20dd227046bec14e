"""An encoder's run over tasks: kept, resumed, compared and reported like any other."""

import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from eval.compare import compare_runs
from eval.encoder import evaluate_encoder, figures, mean_over_tasks
from eval.report import render_html, render_markdown
from eval.run import list_runs
from eval.tasks import load_tasks
from indexer.encoder import Vectors
from indexer.errors import ConfigError, ModelError

needs_mteb = pytest.mark.skipif(
    importlib.util.find_spec("mteb") is None, reason="mteb is not installed (requirements-mteb.txt)"
)
AXES = ["lamp", "ferry", "goat", "storm"]
GRADED = [("a lamp", "the lamp", 5), ("a lamp", "a ferry", 0), ("goat lamp", "goat", 3), ("storm", "lamp storm", 2)]


class TopicEncoder:
    """A text points along the topics it names; it can be made to fail at a text."""

    dim, query_instruction, max_tokens = len(AXES), "", 512

    def __init__(self, fingerprint: str = "topics", fails_at: str = "nowhere") -> None:
        self.fingerprint, self.fails_at = fingerprint, fails_at
        self.encoded: list[str] = []

    def encode(
        self, texts: Sequence[str], instruction: str = "", on_progress: Callable[[int], None] | None = None
    ) -> Vectors:
        if any(self.fails_at in text for text in texts):
            raise ModelError("killed")
        self.encoded += texts
        rows = np.array([[0.1 + text.split().count(axis) for axis in AXES] for text in texts], np.float32)
        unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def lines(path: Path, rows: Sequence[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "tasks" / "island"
    lines(folder / "corpus.jsonl", [{"_id": axis, "text": f"about the {axis} alone"} for axis in AXES])
    asked = [("q1", "which lamp ?"), ("q2", "which goat ?")]
    lines(folder / "queries.jsonl", [{"_id": id_, "text": text} for id_, text in asked])
    (folder / "qrels.tsv").write_text("q1\tlamp\t1\nq2\tferry\t1\n")
    return folder


@pytest.fixture
def sts(tmp_path: Path) -> Path:
    folder = tmp_path / "tasks" / "sts"
    lines(folder / "data.jsonl", [{"sentence1": a, "sentence2": b, "score": score} for a, b, score in GRADED])
    (folder / "task.toml").write_text('type = "sts"\n')
    return folder


def test_retrieval_needs_no_mteb(beir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval.encoder.check_mteb", lambda: pytest.fail("asked for mteb"))
    run = evaluate_encoder(load_tasks([beir]), TopicEncoder(), "topics", tmp_path)
    # The lamp comes first; the ferry is one of three that are equally far from the goat.
    assert run.scores["island"]["mrr@10"]["island/q1"] == 1.0
    assert 0 < run.scores["island"]["mrr@10"]["island/q2"] <= 0.5
    told = figures(run)["island"]["ndcg@10"]
    assert (told["n"], told["method"]) == (2, "ir_measures")
    again = TopicEncoder()
    assert evaluate_encoder(load_tasks([beir]), again, "topics", tmp_path, reuse=True).id == run.id
    assert again.encoded == []
    assert (run.facts["kind"], run.facts["dataset"], run.facts["encoder_name"]) == ("encoder", "island", "topics")
    assert run.facts["mteb"] is None


def test_without_mteb_nothing_is_begun(beir: Path, sts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    encoder = TopicEncoder()
    with pytest.raises(ConfigError, match="need the package mteb"):
        evaluate_encoder(load_tasks([beir, sts]), encoder, "topics", tmp_path)
    assert (encoder.encoded, list_runs(tmp_path)) == ([], [])


@needs_mteb
def test_a_killed_run_goes_on_without_encoding_again(beir: Path, sts: Path, tmp_path: Path) -> None:
    tasks = load_tasks([beir.parent])
    assert [task.name for task in tasks] == ["island", "sts"]
    with pytest.raises(ModelError):
        evaluate_encoder(tasks, TopicEncoder(fails_at="lamp storm"), "topics", tmp_path)
    again = TopicEncoder()
    run = evaluate_encoder(tasks, again, "topics", tmp_path)
    # The corpus and the first sentences were kept; the step in which it was killed is done again, by length.
    assert again.encoded == ["goat", "a ferry", "the lamp", "lamp storm"]
    undisturbed = evaluate_encoder(tasks, TopicEncoder(), "topics", tmp_path / "other")
    assert run.scores == undisturbed.scores
    assert [r.outcome for r in run.records] == [r.outcome for r in undisturbed.records]
    assert len([name for name in list_runs(tmp_path) if "encoder" in name]) == 1


@needs_mteb
def test_two_encoders_compare_on_the_same_tasks(beir: Path, sts: Path, tmp_path: Path) -> None:
    tasks = load_tasks([beir.parent])
    one, two = (evaluate_encoder(tasks, TopicEncoder(name), name, tmp_path) for name in ("one", "two"))
    compared = compare_runs(one, two)["comparisons"]
    assert [c["variants"] for c in compared] == [["island", "island"], ["sts", "sts"]]
    assert compared[1]["metrics"]["spearman"]["difference"] == 0.0
    # Ranks 4 1 3 2 of the scores against 4 1 2.5 2.5 of the cosines: 4.5 / sqrt(5 * 4.5) = .9487.
    told = figures(one)
    assert told["sts"]["spearman"]["mean"] == pytest.approx(0.9487, abs=1e-4)
    assert told["sts"]["spearman"]["n"] == 4
    island = np.mean(list(one.scores["island"]["ndcg@10"].values()))
    assert mean_over_tasks(one) == pytest.approx((told["sts"]["spearman"]["mean"] + island) / 2)


@needs_mteb
def test_a_run_has_a_report(beir: Path, sts: Path, tmp_path: Path) -> None:
    run = evaluate_encoder(load_tasks([beir.parent]), TopicEncoder(), "topics", tmp_path)
    page, text = render_html(run), render_markdown(run)
    assert "<h2" in page
    assert "6 cases of tasks" in text
    assert "| spearman | 0.9487 |" in text
    assert "Worst by spearman" in text
    assert "by kind of question" not in text
