"""The cross-encoder against a tiny, randomly initialised BERT written to a folder."""

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))
from tiny_ranker import WORDS, save_model

from indexer.errors import ModelError
from retriever.rerank import CrossEncoderReranker, score_within

PASSAGES = ["lamp keeper storm", "ferry", "goat cheese goat cheese tide", "rock tide " * 60, "lamp"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield save_model(tmp_path_factory.mktemp("models") / "one", num_labels=1)


def one_by_one(folder: Path, query: str) -> list[float]:
    """Scores of the passages, each alone, straight from transformers."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    scores = []
    for passage in PASSAGES:
        pair = tokenizer(query, passage, truncation="longest_first", max_length=64, return_tensors="pt")
        with torch.inference_mode():
            scores.append(float(model(**pair).logits[0, 0]))
    return scores


@pytest.mark.parametrize("batch_pairs", [1, 2, 16])
def test_scores_are_those_of_each_pair_alone_in_the_order_given(folder: Path, batch_pairs: int) -> None:
    expected = one_by_one(folder, "lamp storm")
    assert len({round(score, 4) for score in expected}) == len(PASSAGES)  # the test could fail
    scores = CrossEncoderReranker(folder, batch_pairs=batch_pairs).score("lamp storm", PASSAGES)
    assert scores == pytest.approx(expected, abs=1e-5)


def test_the_query_matters(folder: Path) -> None:
    reranker = CrossEncoderReranker(folder)
    assert reranker.score("lamp", PASSAGES) != pytest.approx(reranker.score("goat", PASSAGES), abs=1e-3)


def test_threads_get_their_own_scores(folder: Path) -> None:
    reranker = CrossEncoderReranker(folder, batch_pairs=2)
    alone = {word: reranker.score(word, PASSAGES) for word in WORDS}
    with ThreadPoolExecutor(4) as pool:
        together = dict(zip(WORDS, pool.map(lambda word: reranker.score(word, PASSAGES), WORDS), strict=True))
    for word in WORDS:
        assert together[word] == pytest.approx(alone[word], abs=1e-6)


class Clock:
    """Time that only passes while something is scored."""

    def __init__(self, reranker: CrossEncoderReranker, *batches_s: float) -> None:
        self._reranker, self._batches_s = reranker, list(batches_s)
        self.name, self.now_s, self.read = "clocked", 100.0, list[int]()

    def score(self, query: str, passages: Sequence[str]) -> list[float]:
        self.now_s += self._batches_s[len(self.read)]
        self.read.append(len(passages))
        return self._reranker.score(query, passages)


@pytest.mark.parametrize(
    ("budget_ms", "batches_s", "read", "all_read"),
    [
        (0, (9.0,), [5], True),  # no limit: all in one call
        (60, (0.02, 0.02, 0.02), [2, 2, 1], True),
        (59, (0.02, 0.02, 0.02), [2, 2], False),  # the third would end at 60 ms
        (100, (0.02, 0.05, 0.02), [2, 2], False),  # it might take 50 ms again
        (10, (0.5,), [2], False),  # the first is always tried
        (100, (0.02, 0.02, 0.07), [2, 2, 1], False),  # the last one took longer than those before it
    ],
)
def test_a_budget_ends_before_the_batch_that_would_break_it(
    folder: Path, budget_ms: float, batches_s: tuple[float, ...], read: list[int], all_read: bool
) -> None:
    real = CrossEncoderReranker(folder)
    clock = Clock(real, *batches_s)
    scores = score_within(clock, "lamp storm", PASSAGES, 2, budget_ms, lambda: clock.now_s)
    assert clock.read == read
    assert scores == (pytest.approx(real.score("lamp storm", PASSAGES), abs=1e-5) if all_read else None)


def test_one_batch_that_is_late_is_not_used(folder: Path) -> None:
    clock = Clock(CrossEncoderReranker(folder), 0.5)
    assert score_within(clock, "lamp storm", PASSAGES, len(PASSAGES), 499, lambda: clock.now_s) is None
    assert clock.read == [len(PASSAGES)]


def test_it_is_known_by_its_folder_or_by_the_name_it_was_asked_for(folder: Path) -> None:
    assert CrossEncoderReranker(folder).name == folder.name
    assert CrossEncoderReranker(folder, name="owner/ranker").name == "owner/ranker"


def test_no_passages_no_scores(folder: Path) -> None:
    assert CrossEncoderReranker(folder).score("lamp", []) == []


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No reranker model") as error:
        CrossEncoderReranker(tmp_path)
    assert "retriever.reranker" in error.value.remedy


def test_a_folder_with_a_broken_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="cannot be loaded"):
        CrossEncoderReranker(tmp_path)


def test_a_classifier_of_many_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="gives 3 scores"):
        CrossEncoderReranker(save_model(tmp_path / "three", num_labels=3))
