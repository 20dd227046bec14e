"""The graph that a GPU builds: all but the building itself runs here, with FAISS's own class for what comes of it."""

import logging
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from indexer.encoder import Vectors
from indexer.recall import LEAST_RECALL, recall_at_k
from indexer.store import base as base_module
from indexer.store.gpu import LEAST_ROWS, builds_on_gpu, graph_on_gpu, in_half_precision, why_no_gpu
from indexer.verify import verify

DIM, ROWS = 48, 2000
needs_gpu = pytest.mark.skipif(bool(why_no_gpu()), reason=why_no_gpu() or "a GPU is there")


def clustered(seed: int, count: int) -> Vectors:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(40, DIM))
    rows = centres[rng.integers(0, 40, count)] + 0.7 * rng.normal(size=(count, DIM))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def cagra_of(vectors: Vectors) -> Any:
    """What copyTo() makes: here its lowest level, too, was built by the processor."""
    index = faiss.IndexHNSWCagra(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.base_level_only = False
    index.hnsw.efConstruction = 100
    index.add(vectors)
    return index


def recall(index: Any, vectors: Vectors, alive: Any = None, **options: Any) -> float:
    queries = clustered(9, 100)
    scores = queries @ vectors.T
    if alive is not None:
        scores[:, ~alive] = -2
    exact = np.argsort(-scores, axis=1)[:, :10]
    _, found = index.search(queries, 10, params=faiss.SearchParametersHNSW(efSearch=256, **options))
    return float(
        np.mean([len(set(one) & set(two)) / 10 for one, two in zip(exact.tolist(), found.tolist(), strict=True)])
    )


def test_a_cagra_graph_is_saved_mapped_filtered_and_grown(tmp_path: Path) -> None:
    vectors = clustered(0, ROWS)
    index = in_half_precision(cagra_of(vectors), [vectors[:700], vectors[700:]], 32, 100)
    assert isinstance(index, faiss.IndexHNSWSQ)
    faiss.write_index(index, str(tmp_path / "graph"))
    mapped = faiss.read_index(str(tmp_path / "graph"), faiss.IO_FLAG_MMAP_IFC)
    assert mapped.ntotal == ROWS
    assert np.abs(mapped.reconstruct_n(0, ROWS) - vectors).max() < 1e-3
    assert recall(mapped, vectors) >= 0.98
    alive = np.random.default_rng(2).random(ROWS) < 0.5
    selector = faiss.IDSelectorBitmap(np.packbits(alive, bitorder="little"))
    assert recall(mapped, vectors, alive, sel=selector) >= 0.95
    grown, late = faiss.read_index(str(tmp_path / "graph")), clustered(3, 300)
    grown.add(late)
    assert recall(grown, np.concatenate([vectors, late])) >= 0.98


def test_it_finds_what_the_processors_graph_finds() -> None:
    vectors = clustered(0, ROWS)
    ours = base_module._empty_index(DIM)
    ours.add(vectors)
    theirs = in_half_precision(cagra_of(vectors), [vectors], 32, 100)
    assert (type(theirs), theirs.hnsw.efConstruction) == (type(ours), ours.hnsw.efConstruction)
    assert abs(recall(theirs, vectors) - recall(ours, vectors)) <= 0.01


def test_a_graph_of_one_level_or_of_other_rows_is_refused() -> None:
    vectors = clustered(0, 300)
    cagra = cagra_of(vectors)
    with pytest.raises(RuntimeError, match="300 rows, 299 are given"):
        in_half_precision(cagra, [vectors[1:]], 32, 100)
    cagra.base_level_only = True
    with pytest.raises(RuntimeError, match="upper levels"):
        in_half_precision(cagra, [vectors], 32, 100)


def test_a_collection_grows_from_such_a_base(shelf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def as_on_gpu(vectors: Vectors, neighbours: int, ef_construction: int) -> Any:
        return in_half_precision(cagra_of(vectors), [vectors], neighbours, ef_construction)

    monkeypatch.setattr("indexer.store.base.graph_on_gpu", as_on_gpu)
    monkeypatch.setattr("indexer.store.dense.builds_on_gpu", lambda how, rows: rows >= 350)
    shelf.add(**{f"d{number}": f"text {number} of {number % 9}" for number in range(400)}, same="text 7 of 7")
    assert shelf.collection.dense.base_rows() == 400  # equal texts share a row
    assert verify(shelf.collection) == []
    shelf.delete("d3", "d4")
    monkeypatch.undo()
    shelf.add(**{f"late{number}": f"late {number} of {number % 5}" for number in range(300)})  # grown by the processor
    assert shelf.collection.dense.base_rows() == 700  # what was deleted stays until it is much
    assert verify(shelf.collection) == []
    queries = shelf.encoder.encode([f"text {number}" for number in range(20)])
    assert np.mean(recall_at_k(shelf.collection, queries)) >= LEAST_RECALL


def test_without_a_gpu_the_processor_builds_and_one_line_says_so(caplog: pytest.LogCaptureFixture) -> None:
    if not why_no_gpu():
        pytest.skip("a GPU is there")
    with caplog.at_level(logging.INFO):
        assert not builds_on_gpu("cpu", 10**9)
        assert not builds_on_gpu("auto", 10**9)
    assert caplog.messages == []
    assert not builds_on_gpu("gpu", 10)
    assert caplog.messages == [f"the processor builds the graph: {why_no_gpu()}"]
    caplog.clear()
    assert graph_on_gpu(clustered(0, 300), 32, 100) is None  # as when a GPU fails in the middle
    assert len(caplog.messages) == 1


def test_a_gpu_that_fails_costs_nothing(shelf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if not why_no_gpu():
        pytest.skip("a GPU is there")
    monkeypatch.setattr("indexer.store.dense.builds_on_gpu", lambda how, rows: True)
    shelf.add(**{f"d{number}": f"text {number} of {number % 9}" for number in range(300)})
    assert shelf.collection.dense.base_rows() == 300
    assert verify(shelf.collection) == []


@needs_gpu
def test_the_gpu_builds_a_graph_that_the_processor_searches_and_grows() -> None:
    vectors = clustered(0, LEAST_ROWS)
    assert builds_on_gpu("auto", LEAST_ROWS)
    index = graph_on_gpu(vectors, 32, 100)
    assert isinstance(index, faiss.IndexHNSWSQ)
    assert recall(index, vectors) >= 0.97
    late = clustered(3, 500)
    index.add(late)
    assert recall(index, np.concatenate([vectors, late])) >= 0.97
