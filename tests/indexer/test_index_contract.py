"""What every index must do, asked of the local one and of Milvus Lite: the same questions, the same answers."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.access import Access
from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.filter import parse_filter
from indexer.purge import purge
from indexer.reindex import reindex, rollback
from indexer.store.index import IndexSettings
from indexer.verify import verify
from retriever.request import SearchRequest
from retriever.search import Retriever
from tests.indexer.moving import HAS_MILVUS

KINDS = ("local", "milvus")
SONGS = {
    "one": "The lighthouse keeper lit the lamp",
    "two": ["A lamp, a lamp, a lamp and a keeper", "The storm had no name"],
    "three": "Storms broke the harbour wall in winter",
    "four": "Größe und Würde — лампа на маяке — ランプ — दीपक",
}


@pytest.fixture(params=KINDS)
def stored(request: pytest.FixtureRequest, tmp_path: Path, shelf_at: Callable[..., Any]) -> Iterator[Any]:
    """An empty shelf, of one kind of index after the other."""
    if request.param == "milvus" and not HAS_MILVUS:
        pytest.skip("pymilvus and milvus-lite are not installed: requirements-milvus.txt")
    settings = IndexSettings(request.param, f"milvus:{tmp_path}/index.db", index_type="HNSW")
    shelf = shelf_at(tmp_path / "home", index=settings)
    assert shelf.collection.generation.index.kind == request.param
    yield shelf
    shelf.collection.close()


def again(shelf: Any) -> Collection:
    """The collection as the next process opens it, which knows no address."""
    shelf.collection.close()
    shelf.collection = Collection.open(shelf.home, "default")
    return shelf.collection


def numbers(shelf: Any, query: str, mode: Any, **options: Any) -> list[str]:
    found = Retriever(shelf.collection, shelf.encoder).find(SearchRequest(query, mode=mode, **options))
    return [hit.chunk.document_id for hit in found.hits]


def test_nothing_is_found_in_an_empty_collection(stored: Any) -> None:
    assert stored.lexical("lamp") == stored.dense("lamp") == []
    assert verify(stored.collection) == []


def test_adds_updates_and_deletions_show_at_once(stored: Any) -> None:
    stored.add(**SONGS)
    assert sorted(stored.lexical("keeper")) == ["one", "two"]
    assert stored.lexical("harbours walls") == ["three"]  # by stems
    assert stored.dense(SONGS["three"], 1) == ["three"]
    stored.add(three="A quiet sea without any wall")
    assert stored.lexical("harbour") == []
    assert stored.lexical("sea") == ["three"]
    assert stored.dense("A quiet sea without any wall", 1) == ["three"]
    assert stored.delete("two") == 1
    assert stored.lexical("lamp keeper storm") == ["one"]
    assert sorted(stored.dense("lamp", 10)) == ["four", "one", "three"]
    assert again(stored).count() == 3
    assert stored.lexical("lamp") == ["one"]
    assert stored.delete("one", "three", "four") == 3
    assert stored.lexical("lamp") == stored.dense("lamp") == []
    assert verify(stored.collection) == []


def test_phrases_must_be_held(stored: Any) -> None:
    stored.add(**SONGS)
    assert numbers(stored, '"keeper lit"', "bm25") == ["one"]
    assert numbers(stored, '"keepers lit the lamps"', "hybrid") == ["one"]  # word forms count as the same
    assert numbers(stored, '"lit keeper"', "hybrid") == []
    assert numbers(stored, 'lamp "a keeper"', "dense") == ["two"]
    assert numbers(stored, '"the storm" "had no name" lamp', "bm25") == ["two"]
    assert numbers(stored, "heading:harbour", "bm25") == []


def test_words_follow_the_language_of_the_collection(stored: Any) -> None:
    stored.add(one="Die Häuser am Hafen", two="A cat sat by the harbour")
    assert stored.lexical("Haus") == []
    stored.collection.speak("german")
    assert stored.lexical("Haus") == ["one"]
    assert verify(stored.collection) == []
    stored.add(three="Ein altes Haus")
    assert sorted(stored.lexical("Haus")) == ["one", "three"]
    again(stored)
    assert sorted(stored.lexical("Häusern")) == ["one", "three"]


def test_all_modes_filters_and_access_through_the_retriever(stored: Any) -> None:
    stored.add(**SONGS)
    for mode in ("bm25", "dense", "hybrid"):
        assert numbers(stored, SONGS["one"], mode)[0] == "one"
        assert numbers(stored, "lamp keeper", mode, asked=parse_filter(["source=two.txt"]))[0] == "two"
        assert "one" not in numbers(stored, "lamp keeper", mode, asked=parse_filter(["source!=one.txt"]))
    with stored.collection.writer() as writer:
        writer.restrict(["crew"], "/docs/one.txt")
    for mode in ("bm25", "dense", "hybrid"):
        assert "one" not in numbers(stored, "lamp keeper", mode, access=Access(frozenset()))
        assert "one" in numbers(stored, "lamp keeper", mode, access=Access(frozenset({"crew"})))


def test_words_of_any_script_are_found(stored: Any) -> None:
    stored.add(**SONGS)
    for word in ("größe", "GROSSE", "маяке", "ランプ", "दीपक"):
        assert stored.lexical(word) == ["four"], word
    assert stored.lexical("keeper) or (key >= 0") != []  # no text is part of an expression


def test_ties_come_in_order_of_key_and_k_is_a_limit(stored: Any) -> None:
    stored.add(**{f"d{number}": "the same words" for number in range(9)})
    assert stored.lexical("words", 4) == ["d0", "d1", "d2", "d3"]
    assert stored.dense("the same words", 4) == ["d0", "d1", "d2", "d3"]
    assert stored.lexical("words", 0) == stored.dense("words", 0) == []


def test_a_few_scattered_rows_are_found_however_deep(stored: Any) -> None:
    stored.add(**{f"d{number:03}": f"storm number {number} of the winter" for number in range(300)})
    every_other = tuple((key, key) for key in range(1, 601, 2))  # more ranges than one expression takes
    hits = stored.collection.lexical.search("storm", 300, every_other)
    assert sorted(key for key, _ in hits) == list(range(1, 301, 2))
    near = stored.collection.dense.search(stored.encoder.encode(["storm number 7"])[0], 5, ((3, 4), (9, 9)))
    assert sorted(key for key, _ in near) == [3, 4, 9]
    assert stored.collection.lexical.search("storm", 5, ()) == []


def test_what_another_writer_has_deleted_takes_no_place(stored: Any) -> None:
    stored.add(**SONGS)
    other = Collection.open(stored.home, "default")
    with other.writer() as writer:  # holds the lock, so that no reader may catch up
        writer._published = float("inf")  # and has published nothing yet
        writer.delete("two")
        assert "two" not in stored.lexical("lamp keeper", 1)
        assert "two" not in stored.dense("A lamp, a lamp, a lamp and a keeper", 2)
        document, chunks = stored.document("five", "A vessel that nobody saw")
        writer.add(document, chunks, stored.encoder.encode(["A vessel that nobody saw"]))
        assert stored.dense("A vessel that nobody saw", 1) == ["five"]  # exactly, from the truth
    assert stored.lexical("vessel") == ["five"]
    other.close()


def test_many_equal_texts_do_not_bury_the_others(stored: Any) -> None:
    words = ["mast", "keel", "rope", "sail", "hull", "tide", "gull", "buoy", "dock", "helm", "brig", "oar"]
    rng = np.random.default_rng(7)
    others = {f"d{number:03}": " ".join(rng.choice(words, 6)) + f" {number}" for number in range(100)}
    stored.add(notices=["Not to be copied"] * 1500, **others)
    purge(stored.collection)  # which writes the whole index anew, graph and all
    assert [name for name, text in others.items() if name not in stored.dense(text, 10)] == []
    assert stored.dense("Not to be copied", 20) == ["notices"] * 20
    assert verify(stored.collection) == []


def test_recall_against_exact_search(stored: Any) -> None:
    words = ["mast", "keel", "rope", "sail", "hull", "tide", "gull", "buoy", "dock", "helm", "brig", "oar"]
    rng = np.random.default_rng(7)
    texts = {f"d{number:03}": " ".join(rng.choice(words, 6)) + f" {number}" for number in range(400)}
    stored.add(**texts)
    keys, vectors = stored.collection.vectors()
    found = 0
    for query in stored.encoder.encode([" ".join(rng.choice(words, 3)) for _ in range(20)]):
        exact = keys[np.argsort(-(vectors @ query), kind="stable")[:10]]
        found += len({key for key, _ in stored.collection.dense.search(query, 10)} & set(exact.tolist()))
    assert found >= 0.97 * 200


def test_reindex_keeps_the_kind_and_rollback_returns(stored: Any, hash_encoder: Callable[..., Any]) -> None:
    stored.add(**SONGS)
    kind = stored.collection.generation.index.kind
    reindex(stored.collection, hash_encoder("hash-2", 48), ChunkSettings(20))
    assert (stored.collection.generation.number, stored.collection.generation.index.kind) == (2, kind)
    assert stored.lexical("harbour") == ["three"]
    assert len(stored.collection.dense.search(hash_encoder("hash-2", 48).encode(["harbour"])[0], 3)) == 3
    assert verify(stored.collection) == []
    rollback(stored.collection)
    assert stored.collection.generation.index.kind == kind
    assert stored.dense(SONGS["three"], 1) == ["three"]


def test_a_purge_leaves_an_index_that_verifies(stored: Any) -> None:
    stored.add(**SONGS)
    stored.delete("two")
    purge(stored.collection, generations=True)
    assert stored.lexical("lamp") == ["one"]
    assert verify(stored.collection) == []


def test_what_is_written_is_read_by_the_next_process_without_settings(stored: Any) -> None:
    stored.add(**SONGS)
    kind = stored.collection.generation.index.kind
    collection = again(stored)
    assert collection.generation.index.kind == kind
    assert stored.dense(SONGS["one"], 1) == stored.lexical("lighthouse") == ["one"]
