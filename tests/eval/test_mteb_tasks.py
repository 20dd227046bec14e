"""Tasks through mteb: our values per case are its figures, and queries alone get the instruction."""

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from eval.dataset import load_dataset
from eval.mteb_tasks import EXPERIMENTS, Scored, _MtebEncoder, score_task
from eval.retrieval import evaluate_retrieval, searched_for
from eval.tasks import MAIN, Task, load_tasks
from indexer.encoder import Vectors
from indexer.errors import ConfigError, ModelError

DATA = Path(__file__).parents[2] / "data"
TASKS = load_tasks([DATA / "encoder-tasks"])
needs_mteb = pytest.mark.skipif(
    importlib.util.find_spec("mteb") is None, reason="mteb is not installed (requirements-mteb.txt)"
)


class WordEncoder:
    """A text is the sum of its words' directions, each drawn by the word; or the same vector for every text."""

    fingerprint, dim, query_instruction, max_tokens = "words", 64, "find", 512

    def __init__(self, alike: bool = False) -> None:
        self.asked: list[tuple[str, str]] = []
        self.alike = alike

    def encode(
        self, texts: Sequence[str], instruction: str = "", on_progress: Callable[[int], None] | None = None
    ) -> Vectors:
        self.asked += [(instruction, text) for text in texts]
        rows = np.array([sum(_direction("" if self.alike else word) for word in text.split()) for text in texts])
        if on_progress:
            on_progress(len(texts))
        unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


@cache
def _direction(word: str) -> Vectors:
    seed = int.from_bytes(hashlib.sha256(word.lower().encode()).digest()[:4])
    return np.random.default_rng(seed).standard_normal(64).astype(np.float32)


@cache
def scored(name: str) -> Scored:
    return score_task(next(task for task in TASKS if task.name == name), WordEncoder())


@needs_mteb
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_mean_of_our_values_is_the_score_of_mteb(task: Task) -> None:
    told = scored(task.name)
    values = told.values[MAIN[task.type]]
    assert fmean(values) == pytest.approx(told.main_score, abs=1e-5)  # mteb rounds reranking to five digits
    assert 0 < told.main_score < 1
    expected = {"classification": len(task.labelled), "clustering": EXPERIMENTS}
    assert len(values) == len(told.predicted) == expected.get(task.type, len(task.pairs) + len(task.candidates))


@needs_mteb
def test_only_queries_get_the_instruction() -> None:
    reranking, sts = (next(task for task in TASKS if task.type == type_) for type_ in ("reranking", "sts"))
    encoder = WordEncoder()
    score_task(reranking, encoder)
    assert {text for instruction, text in encoder.asked if instruction == "find"} == {
        each.query for each in reranking.candidates
    }
    others = WordEncoder()
    score_task(sts, others)
    assert {instruction for instruction, _ in others.asked} == {""}


@needs_mteb
def test_the_same_encoder_gets_the_same_figures_again() -> None:
    for task in TASKS:
        assert score_task(task, WordEncoder()).values == scored(task.name).values


@needs_mteb
def test_an_encoder_that_makes_all_alike_has_no_correlation() -> None:
    (sts,) = (task for task in TASKS if task.type == "sts")
    with pytest.raises(ModelError, match="gives all pairs of sts the same similarity"):
        score_task(sts, WordEncoder(alike=True))


def test_without_mteb_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as error:
        score_task(TASKS[0], WordEncoder())
    assert "requirements-mteb.txt" in error.value.remedy


@needs_mteb
def test_retrieval_is_what_mteb_finds(tmp_path: Path) -> None:
    """The served dense search against AbsTaskRetrieval with the same vectors: nDCG@10 of each, to three digits."""
    from datasets import Dataset
    from mteb.abstasks import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    encoder = WordEncoder()
    encoder.query_instruction = ""
    dataset = load_dataset(DATA / "questions")
    ours = evaluate_retrieval(DATA / "questions", ["dense"], encoder, tmp_path)["modes"]["dense"]

    metadata = TaskMetadata(
        name="questions", description="-", dataset={"path": "local/questions", "revision": "1"}, type="Retrieval",
        eval_splits=["test"], eval_langs=["eng-Latn"], main_score="ndcg_at_10",
    )  # fmt: skip
    task = type("Local", (AbsTaskRetrieval,), {"metadata": metadata})(seed=1)
    judged = dataset.judged
    corpus = {entry.id: f"{entry.title}\n{entry.text}" for entry in dataset.entries}
    task.dataset = {
        "default": {
            "test": {
                "queries": Dataset.from_dict({"id": [c.id for c in judged], "text": [searched_for(c) for c in judged]}),
                "corpus": Dataset.from_dict(
                    {"id": list(corpus), "title": [""] * len(corpus), "text": list(corpus.values())}
                ),
                "relevant_docs": {c.id: dict(c.relevant) for c in judged},
                "top_ranked": None,
            }
        }
    }  # fmt: skip
    task.data_loaded = True
    theirs = task.evaluate(_MtebEncoder(encoder, None), "test", encode_kwargs={"show_progress_bar": False})["default"]
    assert ours["ndcg@10"] == pytest.approx(theirs["main_score"], abs=1e-3)
    assert ours["recall@100"] == pytest.approx(theirs["recall_at_100"], abs=1e-3)
