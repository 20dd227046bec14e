"""Phrases and fields in a question: how it is taken apart, and what is then found."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.collection import Collection
from indexer.filter import parse_filter
from indexer.store.keys import intersection
from indexer.store.lexical import Required
from retriever.asked import Asked, read_question
from retriever.request import SearchRequest
from retriever.search import Retriever, RetrieverSettings

TEXTS = [
    "goat cheese ripens in the cellar of the creamery",
    "cheese made of milk of the goat",
    "the creamery sells cheese and butter",
    "the ferry sails in winter",
]
Fill = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("question", "words", "required"),
    [
        ('where does "goat cheese" ripen?', 'where does "goat cheese" ripen?', [("text", "goat cheese")]),
        ("title:report budget", "report budget", [("title", "report")]),
        (
            'heading:"open questions" title:plan',
            '"open questions" plan',
            [("heading", "open questions"), ("title", "plan")],
        ),
        ('("a b") and "c"', '("a b") and "c"', [("text", "a b"), ("text", "c")]),
        # Everything else is words
        ('an open "quote', 'an open "quote', []),
        ('a 5" pipe and a 6" pipe', 'a 5" pipe and a 6" pipe', []),
        ("title: a subtitle", "title: a subtitle", []),
        ("subtitle:x author:y", "subtitle:x author:y", []),
        ("don't say 'so'", "don't say 'so'", []),
        ('"?!" and ""', '"?!" and ""', []),
        ("title:", "title:", []),
    ],
)
def test_a_question_taken_apart_by_hand(question: str, words: str, required: list[tuple[Any, str]]) -> None:
    assert read_question(question) == Asked(words, tuple(Required(*each) for each in required))


@given(st.text() | st.from_regex(r'(title:|heading:|"| |a|b|\\|\(|~|\*){0,12}', fullmatch=True))
def test_any_text_is_a_question(text: str) -> None:
    asked = read_question(text)
    assert asked.required or asked.words == text


def test_any_signs_can_be_searched_for(collection: Collection, fill: Fill, encoder: Any) -> None:
    fill(TEXTS)
    retriever = Retriever(collection, encoder)

    @settings(max_examples=60, deadline=None)
    @given(st.from_regex(r'(title:|heading:|"| |goat|cheese|\\|\(|~|\*|水|:){0,10}[a-z]', fullmatch=True))
    def search(text: str) -> None:
        assert len(retriever.search(text, 2)) <= 2

    search()


def documents(retriever: Retriever, question: str, **options: Any) -> list[str]:
    return sorted(hit.chunk.document_id for hit in retriever.find(SearchRequest(question, **options)).hits)


@pytest.mark.parametrize("mode", ["bm25", "dense", "hybrid"])
@pytest.mark.parametrize("engine", ["tantivy", "rank-bm25"])
def test_only_chunks_that_hold_the_phrase_are_found(
    collection: Collection, fill: Fill, encoder: Any, mode: Any, engine: Any
) -> None:
    fill(TEXTS)
    retriever = Retriever(collection, encoder, RetrieverSettings(lexical_engine=engine))
    assert documents(retriever, 'what about "goat cheese"', mode=mode) == ["doc0"]
    assert documents(retriever, 'cheese "goat cheese" "the ferry"', mode=mode) == []
    assert len(documents(retriever, 'cheese "goat cheese" "the ferry"', mode=mode, loosely=True)) >= 3


def test_words_in_the_title(collection: Collection, fill: Fill, encoder: Any) -> None:
    fill(TEXTS)  # the titles are "Title doc0" and so on
    assert documents(Retriever(collection, encoder), "title:doc2 cheese") == ["doc2"]
    assert documents(Retriever(collection, encoder), 'title:"doc2 title" cheese') == []


def test_phrase_and_filter_must_both_hold(collection: Collection, fill: Fill, encoder: Any) -> None:
    fill(TEXTS)
    retriever, question = Retriever(collection, encoder), 'cheese "the creamery"'
    assert documents(retriever, question) == ["doc0", "doc2"]
    assert documents(retriever, question, asked=parse_filter(["source=/doc2.txt"])) == ["doc2"]
    outside = parse_filter(["source=/doc1.txt"])
    assert documents(retriever, question, asked=outside) == []
    assert documents(retriever, question, asked=outside, loosely=True) == ["doc1"]  # the filter stays


ranges = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4)), max_size=8)


@given(ranges, ranges)
def test_an_intersection_holds_what_both_hold(one: Any, other: Any) -> None:
    def apart(drawn: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
        from indexer.store.keys import merge_ranges

        return tuple(merge_ranges((first, first + more) for first, more in drawn))

    def held(of: tuple[tuple[int, int], ...]) -> set[int]:
        return {key for first, last in of for key in range(first, last + 1)}

    assert held(intersection(apart(one), apart(other))) == held(apart(one)) & held(apart(other))
