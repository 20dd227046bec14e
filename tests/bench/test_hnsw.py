"""The benches on real vectors: what is drawn, what counts as found, and what equal vectors do."""

import json
from pathlib import Path

import faiss
import numpy as np
import pytest

from bench import filters, hnsw, real_vectors
from indexer.encoder import Vectors
from indexer.milvus.writer import apart
from indexer.store.rows import CROWD, Rows


def unit(rows: Vectors) -> Vectors:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def vectors() -> Vectors:
    return unit(np.random.default_rng(1).normal(size=(300, 16))).astype(np.float16).astype(np.float32)


def test_recall_counts_what_is_as_near_as_the_last(vectors: Vectors) -> None:
    exact = hnsw.Exact(np.concatenate([vectors, vectors[:1]]), vectors[:1])  # the first is there twice
    order = np.argsort(-(vectors @ vectors[0]))
    best = np.array([300, *order[1:10]])
    assert exact.recalls([best], 10) == [0.9]  # it lacks the other copy
    assert exact.recalls([np.array([0, 300, *order[1:9]])], 10) == [1.0]
    assert exact.recalls([np.array([*order[-10:]])], 10) == [0.0]


def test_scoring_again_restores_the_order_of_the_halves(vectors: Vectors) -> None:
    graph = hnsw.built("sq8", hnsw.empty(vectors, hnsw.STORAGE["sq8"], 16), 100, vectors)
    search = hnsw.scored_again(graph.index, vectors.astype(np.float16))
    for query in vectors[:20]:
        exact = np.argsort(-(vectors @ query), kind="stable")[:10]
        assert search(query[None], 300)[:10].tolist() == exact.tolist()
    assert graph.links == 16


def test_questions_come_of_every_set_in_turn(tmp_path: Path) -> None:
    for name in real_vectors.SETS:
        (tmp_path / name).mkdir()
        lines = [json.dumps({"_id": str(at), "text": f"{name} {at % 3}"}) for at in range(5)]
        (tmp_path / name / "queries.jsonl").write_text("\n".join(lines) + "\n")
    drawn = real_vectors.drawn_questions(tmp_path)
    assert [text.split()[0] for text in drawn] == [*real_vectors.SETS] * 3
    assert len(set(drawn)) == 18 and drawn == real_vectors.drawn_questions(tmp_path)


def test_filters_leave_the_share_that_is_asked_for(vectors: Vectors) -> None:
    keys = np.arange(1, 301)
    for share in (0.5, 0.1, 0.001):
        ranges = filters.drawn(keys, share)
        assert ranges is not None
        assert sum(last - first + 1 for first, last in ranges) == max(20, round(300 * share / 20) * 20)
    assert filters.drawn(keys, 1.0) is None


def test_equal_vectors_are_moved_apart_by_less_than_a_unit(vectors: Vectors) -> None:
    keys, crowded = np.arange(1, 1001), np.arange(1000) >= CROWD
    equal = np.repeat(vectors[:1], 1000, axis=0)
    moved = apart(Rows(keys, (), equal, crowded))
    assert (moved[~crowded] == equal[~crowded]).all()
    assert len(np.unique(moved[crowded], axis=0)) == 1000 - CROWD
    units = np.spacing(np.abs(vectors[0]).astype(np.float16)).astype(np.float32)
    assert (np.abs(moved - equal) <= units * 1.001).all()
    again = apart(Rows(keys[500:], (), equal[500:], crowded[500:]))
    np.testing.assert_array_equal(moved[500:], again)  # of the key alone, so that a resumed run sends the same

    def found(copies: Vectors) -> float:
        rows = np.concatenate([copies, vectors[1:]])
        index = hnsw.built("fp16", hnsw.empty(rows, hnsw.STORAGE["fp16"], 32), 100, rows).index
        _, first = index.search(vectors[1:], 1, params=faiss.SearchParametersHNSW(efSearch=128))
        return float((first[:, 0] == np.arange(1000, 1299)).mean())

    assert found(equal) < 0.9 < 0.98 <= found(moved)
