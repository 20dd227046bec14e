import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import indexer.store.dense as module
import indexer.store.truth as truth_module
import indexer.store.writer as writer_module
from indexer.document import Chunk, Document
from indexer.encoder import Vectors
from indexer.errors import IndexError_
from indexer.store.base import NOTE, Part
from indexer.store.changes import delete_document
from indexer.store.dense import MIN_BASE
from indexer.store.digest import digests_of
from indexer.store.disk import checksum
from indexer.store.keys import inside, merge_ranges
from indexer.store.records import Manifest
from indexer.store.view import empty_view
from indexer.verify import verify

DIM = 24


def unit(rows: Any) -> Vectors:
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def clustered(rng: np.random.Generator, count: int) -> Vectors:
    centres = rng.normal(size=(20, DIM))
    return unit(centres[rng.integers(0, 20, count)] + 0.7 * rng.normal(size=(count, DIM)))


def put(shelf: Any, vectors: Vectors, prefix: str = "d", together: int = 50, same_text: bool = False) -> None:
    """Store vectors as documents of `together` chunks; equal texts share one vector."""
    with shelf.collection.writer() as writer:
        writer.begin(Manifest("fp", DIM, "c", "1", ""))
        for at in range(0, len(vectors), together):
            part = vectors[at : at + together]
            texts = ["same" if same_text else f"{prefix}{at + offset:05}" for offset in range(len(part))]
            name = f"{prefix}-{at}"
            document = Document(name, f"/{name}", "", "text/plain", "", " ".join(texts))
            starts = np.cumsum([0, *(len(text) + 1 for text in texts)])[:-1].tolist()
            chunks = [
                Chunk(f"{name}:{n}", name, text, start, start + len(text))
                for n, (text, start) in enumerate(zip(texts, starts, strict=True))
            ]
            writer.add(document, chunks, part)


def brute(shelf: Any, query: Vectors, k: int) -> list[tuple[int, float]]:
    keys, vectors = shelf.collection.vectors()
    scores = np.round((vectors @ query).astype(np.float64), 6)
    return [(int(keys[at]), float(scores[at])) for at in np.lexsort((keys, -scores))[:k]]


def check_exact(shelf: Any, query: Vectors, k: int) -> None:
    """The same chunks in the same order; a sum in another order may round to the next digit."""
    found, wanted = shelf.collection.dense.search(query, k), brute(shelf, query, k)
    assert [key for key, _ in found] == [key for key, _ in wanted]
    assert [score for _, score in found] == pytest.approx([score for _, score in wanted], abs=1.5e-6)


def recall(shelf: Any, queries: Vectors, k: int) -> float:
    found = 0
    for query in queries:
        wanted = brute(shelf, query, k)
        got = shelf.collection.dense.search(query, k)
        assert len(got) == len(wanted)
        found += sum(score >= wanted[-1][1] - 1e-5 for _, score in got)
    return found / (k * len(queries))


def folder(shelf: Any) -> Path:
    return Path(shelf.collection.generation.folder / "dense")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_an_empty_collection_has_no_neighbours(shelf: Any) -> None:
    assert shelf.collection.dense.search(np.ones(DIM, np.float32), 5) == []


def test_a_merge_tells_how_many_chunks_are_in_of_how_many(
    shelf: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.store.base._ADD_ROWS", 100)
    put(shelf, clustered(rng, 300))
    told: list[tuple[int, int]] = []
    with shelf.collection.lock.held("test"):
        shelf.collection.generation.dense.merge(force=True, on_merge=lambda *chunks: told.append(chunks))
    assert told == [(100, 300), (200, 300), (300, 300), (300, 300)]
    told.clear()
    with shelf.collection.writer() as writer:
        writer.on_merge = lambda *chunks: told.append(chunks)
        document = Document("e", "/e", "", "text/plain", "", "same")
        chunks = [Chunk(f"e:{n}", "e", "same", 0, 4) for n in range(400)]
        writer.add(document, chunks, np.repeat(clustered(rng, 1), 400, axis=0))
    assert told == [(400, 400), (400, 400)], "equal texts are one row, and all of them are in with it"


def test_few_vectors_are_searched_exactly(shelf: Any, rng: np.random.Generator) -> None:
    put(shelf, clustered(rng, MIN_BASE - 1))
    assert shelf.collection.dense.base_rows() == 0
    for query in clustered(rng, 20):
        check_exact(shelf, query, 10)


def test_the_base_finds_what_brute_force_finds(shelf: Any, rng: np.random.Generator) -> None:
    put(shelf, clustered(rng, 1500), together=500)
    assert shelf.collection.dense.base_rows() == 1500
    assert recall(shelf, clustered(rng, 50), 10) >= 0.99
    assert recall(shelf, clustered(rng, 20), 100) >= 0.98


def test_new_vectors_are_found_at_once_and_exactly_beside_the_base(shelf: Any, rng: np.random.Generator) -> None:
    put(shelf, clustered(rng, 1000))
    late = clustered(rng, 60)
    put(shelf, late, "late")
    assert shelf.collection.dense.base_rows() == 1000  # 60 more are no reason to write the base again
    last_keys = shelf.collection.vectors()[0][-60:]
    for key, vector in zip(last_keys.tolist(), late, strict=True):
        assert shelf.collection.dense.search(vector, 1)[0][0] == key


def test_a_merge_that_is_due_later_keeps_nobody_waiting(
    shelf: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(shelf, clustered(rng, MIN_BASE + 200))
    dense = shelf.collection.generation.index.dense
    rows, merge, may = dense.base_rows(), dense.merge, threading.Event()

    def slowly(**options: Any) -> bool:
        assert may.wait(60)
        return bool(merge(**options))

    monkeypatch.setattr(dense, "merge", slowly)
    with shelf.collection.writer(merge_later=True) as writer:
        writer.delete(*(f"d-{at}" for at in range(0, MIN_BASE // 2, 50)))
    assert dense.base_rows() == rows  # and this thread is here
    check_exact(shelf, clustered(rng, 1)[0], 10)
    may.set()
    left, until = len(shelf.collection.vectors()[0]), time.monotonic() + 60
    while dense.base_rows() != (left if left >= MIN_BASE else 0) and time.monotonic() < until:
        time.sleep(0.02)
    assert dense.base_rows() == (left if left >= MIN_BASE else 0)
    with shelf.collection.writer():  # the lock is free again
        pass
    check_exact(shelf, clustered(rng, 1)[0], 10)
    assert verify(shelf.collection) == []


def test_a_grown_delta_is_merged_into_the_base(shelf: Any, rng: np.random.Generator) -> None:
    put(shelf, clustered(rng, 500))
    put(shelf, clustered(rng, 300), "late")
    assert shelf.collection.dense.base_rows() == 800
    assert recall(shelf, clustered(rng, 30), 10) >= 0.99


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_deleted_vectors_never_answer(shelf: Any, rng: np.random.Generator, share: float) -> None:
    put(shelf, clustered(rng, 1000), together=10)
    names = [f"d-{at}" for at in range(0, 1000, 10)]
    gone = rng.permutation(names)[: round(share * 100)].tolist()
    deleted = {key for name in gone for key, _ in shelf.collection.document_chunks(name)}
    shelf.delete(*gone)
    queries = clustered(rng, 30)
    for query in queries:
        assert not deleted & {key for key, _ in shelf.collection.dense.search(query, 50)}
    assert recall(shelf, queries, 10) >= 0.98


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_a_reader_that_cannot_merge_stays_right(shelf: Any, rng: np.random.Generator, share: float) -> None:
    put(shelf, clustered(rng, 1000), together=10)
    query = clustered(rng, 1)[0]
    shelf.collection.dense.search(query, 1)
    gone = rng.permutation(100)[: round(share * 100)]
    with shelf.collection.generation.truth.writing() as db:  # deleted, but nobody merged: the writer was killed
        for number in gone:
            delete_document(db, f"d-{number * 10}")
    assert shelf.collection.dense.base_rows() == 1000
    assert recall(shelf, clustered(rng, 30), 10) >= 0.98


@pytest.mark.parametrize("same_text", [True, False])
def test_equal_vectors_share_a_row_and_do_not_bury_the_others(
    shelf: Any, rng: np.random.Generator, same_text: bool
) -> None:
    others, twin = unit(rng.normal(size=(1000, DIM))), unit(rng.normal(size=(1, DIM)))
    put(shelf, others[:500])
    put(shelf, np.repeat(twin, 1000, axis=0), "twin", same_text=same_text)
    put(shelf, others[500:], "more")
    assert shelf.collection.count() == 2000
    assert shelf.collection.dense.base_rows() <= 1001
    assert recall(shelf, unit(rng.normal(size=(50, DIM))), 10) >= 0.98
    twins = [key for key, _ in shelf.collection.dense.search(twin[0], 1000)]
    assert twins == sorted(twins) and len(set(twins)) == 1000
    shelf.delete("twin-0")  # fifty of the thousand: the row stays, the keys go
    assert not set(twins[:50]) & {key for key, _ in shelf.collection.dense.search(twin[0], 950)}


def test_rows_of_files_from_before_digests_are_known_again(shelf: Any, rng: np.random.Generator) -> None:
    vectors, twin = clustered(rng, 300), unit(rng.normal(size=(1, DIM)))
    put(shelf, np.concatenate([vectors, twin, -twin]))
    shelf.collection.close()
    note = json.loads((folder(shelf) / NOTE).read_text())
    arrays = folder(shelf) / f"{note['build']}.npz"
    with np.load(arrays) as stored:
        keys, rows, digests = stored["keys"], stored["rows"], stored["digests"]
    np.savez(arrays, keys=keys, rows=rows, vector_ids=np.arange(len(digests)))
    (folder(shelf) / NOTE).write_text(json.dumps(note | {"keys_crc": checksum(arrays)}))
    put(shelf, np.concatenate([np.repeat(twin, 300, axis=0), clustered(rng, 20), vectors[:10]]), "late")
    assert shelf.collection.dense.base_rows() == 302 + 20
    assert np.isin(digests, digests_of(shelf.collection.vectors()[1])).all()
    assert recall(shelf, clustered(rng, 30), 10) >= 0.98
    assert verify(shelf.collection) == []


def test_just_equal_vectors_have_one_digest(rng: np.random.Generator) -> None:
    vectors = clustered(rng, 500)
    moved = vectors.copy()
    moved[:, 3] = np.nextafter(vectors[:, 3].astype(np.float16), np.float16(2))  # one unit in the last place
    rounded = vectors.astype(np.float16).astype(np.float32)
    assert (digests_of(vectors) == digests_of(rounded)).all()
    assert len(np.unique(np.concatenate([digests_of(vectors), digests_of(moved)]))) == 1000
    assert digests_of(np.array([[0.0, 1.0]], np.float32)) == digests_of(np.array([[-0.0, 1.0]], np.float32))


def test_any_mixture_of_changes_answers_like_brute_force(shelf: Any, rng: np.random.Generator) -> None:
    names: list[str] = []
    for step in range(7):
        vectors = clustered(rng, int(rng.integers(1, 150)))
        put(shelf, vectors, f"s{step}", together=10)
        names += [f"s{step}-{at}" for at in range(0, len(vectors), 10)]
        for name in rng.permutation(names)[: int(rng.integers(0, 12))].tolist():
            names.remove(name)
            shelf.delete(name)
        assert recall(shelf, clustered(rng, 5), 10) >= 0.96, step


def test_everything_deleted_leaves_no_base(shelf: Any, rng: np.random.Generator) -> None:
    put(shelf, clustered(rng, 200))
    shelf.delete(*[info.id for info in shelf.collection.documents()])
    assert shelf.collection.dense.search(clustered(rng, 1)[0], 5) == []
    assert list(folder(shelf).iterdir()) == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "graph gone", "keys gone", "note", "all gone"])
def test_a_damaged_base_is_rebuilt_from_the_truth(
    shelf: Any, rng: np.random.Generator, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(shelf, clustered(rng, 300))
    queries = clustered(rng, 10)
    shelf.collection.close()
    note = json.loads((folder(shelf) / "base.json").read_text())
    graph = folder(shelf) / f"{note['build']}.faiss"
    if damage == "truncated":
        graph.write_bytes(graph.read_bytes()[:5000])
    elif damage == "flipped":
        data = bytearray(graph.read_bytes())
        data[-100] ^= 0xFF
        graph.write_bytes(data)
    elif damage == "graph gone":
        graph.unlink()
    elif damage == "keys gone":
        (folder(shelf) / f"{note['build']}.npz").unlink()
    elif damage == "note":
        (folder(shelf) / "base.json").write_text("[1")
    else:
        for path in folder(shelf).iterdir():
            path.unlink()
    assert recall(shelf, queries, 10) >= 0.99
    if damage == "all gone":
        return  # no base is no damage: it is written again at the next change
    assert shelf.collection.dense.base_rows() == 300
    assert len([line for line in caplog.messages if "rebuilding" in line]) == 1


def test_a_damaged_base_is_searched_exactly_while_another_writes(shelf: Any, rng: np.random.Generator) -> None:
    put(shelf, clustered(rng, 300))
    shelf.collection.close()
    next(folder(shelf).glob("*.faiss")).write_bytes(b"nothing")
    with shelf.collection.lock.held("another writer"):
        for query in clustered(rng, 10):
            check_exact(shelf, query, 10)


@pytest.mark.parametrize("query", [np.ones(DIM + 1), np.full(DIM, np.nan), np.full(DIM, np.inf)])
def test_a_query_that_does_not_fit_is_refused(shelf: Any, rng: np.random.Generator, query: Any) -> None:
    put(shelf, clustered(rng, 10))
    with pytest.raises(IndexError_, match="does not fit"):
        shelf.collection.dense.search(query.astype(np.float32), 3)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1, 0.01])
def test_recall_does_not_fall_with_what_a_filter_leaves(shelf: Any, share: float, monkeypatch: Any) -> None:
    monkeypatch.setattr("indexer.store.view._EXACT_SHARE", 50)  # so that 3,000 rows are searched both ways
    rng = np.random.default_rng(5)
    put(shelf, clustered(rng, 3000), together=10)
    keys, vectors = shelf.collection.vectors()
    documents = rng.permutation(300)[: round(300 * share)]
    within = merge_ranges((int(keys[10 * at]), int(keys[10 * at + 9])) for at in documents)
    allowed = inside(keys, within)
    found = 0
    for query in clustered(rng, 20):
        scores = np.where(allowed, vectors @ query, -2.0)
        wanted = {int(keys[at]) for at in np.argsort(-scores)[:10]}
        found += len(wanted & {key for key, _ in shelf.collection.dense.search(query, 10, tuple(within))})
    assert found / 200 >= 0.97


def test_the_delta_stays_bounded_while_much_is_written(
    shelf: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WHILE_WRITING", 200)
    monkeypatch.setattr(writer_module, "_PUBLISH_S", 0.0)
    sizes: list[int] = []
    merge = module.write_base
    monkeypatch.setattr(module, "write_base", lambda *given: (sizes.append(len(given[3][0].keys)), merge(*given))[1])
    put(shelf, clustered(rng, 1500))
    # Fifty at a time: the first count over 200, then over the 256 below which a base is left alone.
    assert sizes == [250, 300, 300, 300, 300]
    assert shelf.collection.dense.base_rows() == 1450
    assert recall(shelf, clustered(rng, 30), 10) >= 0.98
    assert verify(shelf.collection) == []


def test_the_delta_of_a_large_base_is_merged_before_it_is_a_tenth(
    shelf: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(shelf, clustered(rng, 5000), together=10)
    put(shelf, clustered(rng, 300), "more")
    assert shelf.collection.dense.base_rows() == 5000, "a delta that is small beside the base costs little to scan"
    monkeypatch.setattr(module, "_MAX_DELTA", 310)
    put(shelf, clustered(rng, 20), "last")
    assert shelf.collection.dense.base_rows() == 5320
    assert verify(shelf.collection) == []


def test_a_base_is_rebuilt_page_by_page(shelf: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truth_module, "_PAGE", 64)
    put(shelf, clustered(rng, 300))
    put(shelf, np.repeat(clustered(rng, 1), 100, axis=0), "twin", same_text=True)  # two pages share one vector
    shelf.delete("d-50")
    truth = shelf.collection.generation.truth
    pages = list(truth.vector_pages(DIM))
    assert [len(keys) for keys, _, _ in pages] == [64, 64, 64, 64, 64, 30]
    keys, vectors = truth.vectors()
    assert np.concatenate([page[0] for page in pages]).tolist() == keys.tolist()
    np.testing.assert_array_equal(np.concatenate([page[2] for page in pages]), vectors)
    assert shelf.collection.dense.merge(force=True)
    assert shelf.collection.dense.base_rows() == 251
    assert recall(shelf, clustered(rng, 20), 10) >= 0.98
    assert verify(shelf.collection) == []


def test_views_that_share_memory_do_not_see_each_others_chunks(rng: np.random.Generator) -> None:
    def part(first: int, count: int) -> Part:
        keys = np.arange(first, first + count)
        return Part(keys, keys, clustered(rng, count))

    first = empty_view(DIM).joined(part(1, 3))
    parts = [part(4, 1), part(5, 2), part(7, 40)]
    longer = first
    for each in parts:
        longer = longer.joined(each)
    other = first.joined(part(4, 5))  # where `longer` went on already
    for view, count in ((first, 3), (longer, 46), (other, 8)):
        assert view.delta.keys.tolist() == list(range(1, count + 1))
    assert np.array_equal(longer.delta.vectors[3:], np.concatenate([each.vectors for each in parts]))
    assert longer.without([(2, 2)]).joined(part(47, 1)).delta.keys.tolist() == [1, *range(3, 48)]
