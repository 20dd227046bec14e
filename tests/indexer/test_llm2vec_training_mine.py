"""Mining hard negatives: BM25 against an oracle, the margin by hand, and what a mined file is worth to a run."""

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from indexer.errors import ConfigError, DatasetError
from indexer.llm2vec.training.contrastive import _lists
from indexer.llm2vec.training.loss import list_kl
from indexer.llm2vec.training.mine import MiningSettings, Rows, below, mine
from indexer.llm2vec.training.pairs import Pair, drop_negatives, read_pairs, write_pairs
from indexer.llm2vec.training.postings import Postings
from retriever.bm25 import RankBM25

WORDS = ["tower", "ferry", "bee", "light", "crown", "school", "the", "of", "May"]
texts = st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), max_size=12)


@given(texts, st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join), st.integers(1, 5))
def test_postings_rank_as_rank_bm25_does(corpus: list[str], query: str, k: int) -> None:
    mine_rows = Postings(corpus).search(query, 20)
    oracle = RankBM25(list(enumerate(corpus)), weights="lucene").search(query, 20)
    scores = dict(oracle)
    assert set(mine_rows) == set(scores)
    assert [scores[row] for row in mine_rows] == pytest.approx([score for _, score in oracle])
    assert Postings(corpus).search(query, k) == mine_rows[:k]


def unit(*angles: float) -> np.ndarray:
    return np.array([[math.cos(angle), math.sin(angle)] for angle in angles], dtype=np.float32)


CORPUS = ["right", "twin", "near", "far", "opposite"]
# Cosines to the anchor: right 1.0 (angle 0), twin .98, near .80, far .36, opposite -1.
ROWS = Rows(unit(0.0), unit(0.0), unit(0.0, math.acos(0.98), math.acos(0.8), math.acos(0.36), math.pi))


def nothing(query: str, k: int) -> list[int]:
    return []


def test_the_margin_takes_out_what_may_be_an_answer() -> None:
    [pair], left_out = _mine([Pair("a", "right", "s")], MiningSettings(per_pair=2, candidates=5, margin=0.95))
    assert pair.negatives == ("near", "far") and left_out == 1  # twin is above .95 of the positive's 1.0
    [pair], left_out = _mine([Pair("a", "right", "s")], MiningSettings(per_pair=2, candidates=5, margin=0.99))
    assert pair.negatives == ("twin", "near") and left_out == 0


def _mine(pairs: list[Pair], settings: MiningSettings, rows: Rows = ROWS) -> tuple[tuple[Pair, ...], int]:
    mined = mine(pairs, CORPUS, nothing, rows, settings)
    return mined.pairs, mined.left_out


def test_below_a_positive_that_scores_less_than_nothing() -> None:
    assert below(0.8, 0.95) == pytest.approx(0.76)
    assert below(-0.2, 0.5) == pytest.approx(-0.4)


def test_known_answers_of_an_equal_anchor_are_no_negatives_and_given_ones_stay() -> None:
    pairs = [Pair("a", "right", "s", ("given",)), Pair("a", "near", "s")]
    rows = Rows(unit(0.0, 0.0), unit(0.0, 0.0), ROWS.corpus)
    (first, second), _ = _mine(pairs, MiningSettings(per_pair=3, candidates=5), rows)
    assert first.negatives == ("given", "far", "opposite") and second.negatives == ("far", "opposite")


def test_words_and_vectors_are_both_asked() -> None:
    def lexical(query: str, k: int) -> list[int]:
        assert (query, k) == ("a", 1)
        return [4]

    settings = MiningSettings(per_pair=5, candidates=1, margin=1.0)
    [pair] = mine([Pair("a", "other", "s")], CORPUS, lexical, ROWS, settings).pairs
    assert pair.negatives == ("right", "opposite")  # the vectors' first and the words' first; equal, so by row


def test_a_cross_encoder_judges_and_its_logits_stay() -> None:
    logits = {"right": 3.0, "near": 2.9, "far": 0.0, "opposite": -4.0, "given": 5.0}

    def judge(anchor: str, texts: list[str]) -> list[float]:
        return [logits[text] for text in texts]

    pair = Pair("a", "right", "s", ("given",))
    mined = mine([pair], CORPUS, nothing, ROWS, MiningSettings(per_pair=3, candidates=5), judge)
    # sigmoid(3) = .953, and .95 of it is .905: near (.948) may be an answer. The given one stays whatever it scores.
    assert mined.pairs[0].negatives == ("given", "far", "opposite")
    assert mined.pairs[0].scores == (3.0, 5.0, 0.0, -4.0)
    assert mined.left_out == 2 and mined.negatives == 3


def test_list_kl_by_hand() -> None:
    anchors = torch.tensor([[1.0, 0], [0, 1]])
    candidates = torch.tensor([[1.0, 0], [0, 1], [0.6, 0.8]])
    lists = _lists([Pair("a", "p", "s", ("n",), (2.0, 0.0)), Pair("b", "q", "s")])
    assert lists == [([0, 2], (2.0, 0.0)), ([], ())]
    teacher = np.exp([2.0, 0.0]) / np.exp([2.0, 0.0]).sum()
    student = np.exp([1 / 0.5, 0.6 / 0.5]) / np.exp([1 / 0.5, 0.6 / 0.5]).sum()
    expected = float((teacher * np.log(teacher / student)).sum())
    assert list_kl(anchors, candidates, lists, 0.5).item() == pytest.approx(expected, abs=1e-6)


def test_scores_go_with_their_negatives() -> None:
    pair = Pair("a", "p", "s", ("n0", "n1", "n2"), (9.0, 0.0, 1.0, 2.0))
    assert drop_negatives(pair, [0, 2]) == Pair("a", "p", "s", ("n0", "n2"), (9.0, 0.0, 2.0))


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_written_pairs_are_read_again(tmp_path: Path, name: str) -> None:
    pairs = [Pair("ä", "p\nq", "s", ("n",), (1.0, 2.0)), Pair("b", "q", "t")]
    write_pairs(tmp_path / name, pairs)
    assert read_pairs(tmp_path / name) == pairs
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(ConfigError, match="cannot be written"):
        write_pairs(tmp_path / "no" / name, pairs)


@pytest.mark.parametrize(
    "extra",
    [{"negatives": "n"}, {"negatives": [" "]}, {"negatives": [1]}, {"scores": [1.0, 2.0]}, {"scores": [math.nan]}],
)
def test_negatives_and_scores_that_make_no_sense_are_named(tmp_path: Path, extra: dict[str, object]) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"anchor": "a", "positive": "b", **extra}) + "\n")
    with pytest.raises(DatasetError, match="line 1"):
        read_pairs(path)


def test_a_broken_archive_is_said(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"anchor": "a", "positive": "b"}\n' * 500)[:40])
    with pytest.raises(DatasetError, match="Cannot read"):
        read_pairs(path)
