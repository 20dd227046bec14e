"""Searches while a reindex switches the collection to another generation."""

from typing import Any

import pytest
from lighthouse import TEXTS, Fill, documents

from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.errors import IndexError_
from indexer.reindex import reindex
from retriever.search import Retriever


def switch_to(collection: Collection, encoder: Any) -> None:
    """What another process does."""
    reindex(Collection.open(collection.home, collection.name), encoder, ChunkSettings(max_tokens=50))


def test_a_retriever_that_is_open_takes_the_new_encoder(collection: Collection, fill: Fill, encoder: Any) -> None:
    fill(TEXTS)
    other, asked = type(encoder)("words-2"), []

    def renew() -> Any:
        asked.append(collection.generation.number)
        return other

    retriever = Retriever(collection, encoder, renew=renew)
    before = documents(retriever.search("lamp"))
    assert asked == []
    switch_to(collection, other)
    assert documents(retriever.search("lamp")) == before
    assert documents(retriever.search("keeper")) and asked == [2]
    assert other.calls[-1] == (("keeper",), "find")


@pytest.mark.parametrize("mode", ["bm25", "hybrid"])
def test_a_search_is_answered_by_one_generation(
    collection: Collection, fill: Fill, encoder: Any, monkeypatch: pytest.MonkeyPatch, mode: Any
) -> None:
    """The switch comes between ranking and reading: the keys of the ranking mean nothing in the new generation."""
    fill(TEXTS)
    before = documents(Retriever(collection, encoder).search("lamp", mode=mode))
    truth = collection.generation.truth
    read = truth.chunks

    def switch_then_read(keys: list[int]) -> Any:
        switch_to(collection, type(encoder)("words-2"))
        return read(keys)

    monkeypatch.setattr(truth, "chunks", switch_then_read)
    assert documents(Retriever(collection, encoder).search("lamp", mode=mode)) == before
    assert collection.generation.number == 2


def test_a_search_whose_generation_is_taken_away_is_asked_again(
    collection: Collection, fill: Fill, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(TEXTS)
    other = type(encoder)("words-2")

    def switch_then_fail(*_: Any) -> Any:
        switch_to(collection, other)
        raise IndexError_("its files are gone", "")

    monkeypatch.setattr(collection.generation.lexical, "search", switch_then_fail)
    assert documents(Retriever(collection, encoder, renew=lambda: other).search("lamp"))
