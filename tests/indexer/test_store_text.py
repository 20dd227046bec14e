import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.store.text import analyze, embed_hash, embed_text, query_terms


def test_title_and_headings_stand_above_the_text_once_each() -> None:
    assert embed_text("Guide", ("Guide", "Setup"), "Turn it on.") == "Guide / Setup\nTurn it on."
    assert embed_text("", (), "Turn it on.") == "Turn it on."
    assert embed_text(" ", ("Setup",), "x") == "Setup\nx"


def test_terms_are_lower_case_stems_without_accents() -> None:
    assert analyze("The Cafés' RUNNING engines") == ["the", "cafe", "run", "engin"]


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("What is the height of the lighthouse?", ["height", "lighthous"]),
        ("engine engine oil", ["engin", "engin", "oil"]),
        ("To be, or not to be", ["to", "be", "or", "not", "to", "be"]),  # nothing but stopwords: all stay
        ("?! :()", []),
        ("", []),
    ],
)
def test_stopwords_leave_a_query_unless_nothing_else_is_there(query: str, terms: list[str]) -> None:
    assert query_terms(query) == terms


def test_a_term_that_is_too_long_is_no_word() -> None:
    assert analyze("a" * 200 + " b") == ["b"]


@given(st.text(), st.text())
def test_equal_hashes_mean_equal_texts(left: str, right: str) -> None:
    assert (embed_hash(left) == embed_hash(right)) == (left == right)
    assert len(embed_hash(left)) == 16


@given(st.text())
def test_any_text_is_analyzed(text: str) -> None:
    assert all(query_terms(text)) or not analyze(text)
