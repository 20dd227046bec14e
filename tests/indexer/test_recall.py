"""Recall of the graph, on real graphs: a good one, one whose links are gone, and none."""

from typing import Any

import numpy as np
import pytest

from indexer.encoder import Vectors
from indexer.errors import IndexError_
from indexer.recall import LEAST_RECALL, drawn_vectors, recall_at_k
from indexer.verify import verify
from tests.indexer.cut_graph import cut_links


def fill(shelf: Any, count: int) -> Vectors:
    shelf.add(**{f"d{number:04}": f"text {number} about {number % 37} and {number % 11}" for number in range(count)})
    return shelf.encoder.encode([f"about {number % 37} or {number}" for number in range(40)])


def test_a_good_graph_finds_what_an_exact_scan_finds(shelf: Any) -> None:
    queries = fill(shelf, 400)
    assert shelf.collection.dense.base_rows() == 400
    shares = recall_at_k(shelf.collection, queries)
    assert len(shares) == 40
    assert np.mean(shares) >= LEAST_RECALL


def test_a_graph_without_links_is_told_by_its_recall_alone(shelf: Any) -> None:
    queries = fill(shelf, 400)
    shelf.collection.close()
    cut_links(shelf.collection.generation.folder / "dense", keep=1)
    assert verify(shelf.collection) == []  # every vector is there
    assert np.mean(recall_at_k(shelf.collection, queries)) < LEAST_RECALL / 2
    with shelf.collection.lock.held("repair"):
        shelf.collection.dense.merge(force=True)
    assert np.mean(recall_at_k(shelf.collection, queries)) >= LEAST_RECALL


def test_the_share_by_hand(shelf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = fill(shelf, 20)
    real = shelf.collection.dense.search
    assert recall_at_k(shelf.collection, queries, 10) == [1.0] * 40  # no graph: exact
    assert recall_at_k(shelf.collection, queries, 50) == [1.0] * 40  # there are only twenty
    monkeypatch.setattr(type(shelf.collection.dense), "search", lambda self, query, k: real(query, k)[: k // 2])
    assert recall_at_k(shelf.collection, queries, 10) == [0.5] * 40


def test_drawn_vectors_are_stored_ones_and_the_same_each_time(shelf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(shelf, 30)
    truth = shelf.collection.generation.truth
    monkeypatch.setattr("indexer.store.truth._PAGE", 7)
    _, stored = truth.vectors()
    drawn = drawn_vectors(truth, 10)
    assert len(drawn) == 10
    assert all((stored == row).all(axis=1).any() for row in drawn)
    assert len(np.unique(drawn, axis=0)) == 10
    assert np.array_equal(drawn, drawn_vectors(truth, 10))
    assert len(drawn_vectors(truth, 100)) == 30
    assert drawn_vectors(truth, 0).shape == (0, stored.shape[1])


def test_queries_of_another_size_are_refused(shelf: Any) -> None:
    fill(shelf, 5)
    with pytest.raises(IndexError_, match="does not fit"):
        recall_at_k(shelf.collection, np.ones((1, 3), np.float32))
