from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.sentences import sentence_at, split_sentences


def sentences(text: str) -> list[str]:
    return [text[low:high] for low, high in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t ", []),
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        (
            "Dr. Ray met Mrs. Lee at 5 p.m. on Monday. It rained.",
            ["Dr. Ray met Mrs. Lee at 5 p.m. on Monday.", "It rained."],
        ),
        (
            "It costs $3.50, e.g. for J. K. Rowling's map. See Fig. 3.",
            ["It costs $3.50, e.g. for J. K. Rowling's map.", "See Fig. 3."],
        ),
        ("He lives in the U.S. She does not.", ["He lives in the U.S.", "She does not."]),
        ('"Really?" she asked. (It was so.) Good.', ['"Really?" she asked.', "(It was so.)", "Good."]),
        ("Prose goes\non here. And\nthere.", ["Prose goes\non here.", "And\nthere."]),
        ("# Heading\nText here", ["# Heading", "Text here"]),
        ("- one\n- two. Three.", ["- one", "- two.", "Three."]),
        ("| a | b. c |\n|---|---|\n| 1.5 | 2 |", ["| a | b. c |", "|---|---|", "| 1.5 | 2 |"]),
        (
            "Name: Bob; Age: 3; City: Rome\nName: Al; Age: 4; City: Oslo",
            ["Name: Bob; Age: 3; City: Rome", "Name: Al; Age: 4; City: Oslo"],
        ),
        ("No stop at the end", ["No stop at the end"]),
    ],
)
def test_splits(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(st.text(st.sampled_from("aB1 .!?\n|-#:;\"'()é。"), max_size=120) | st.text(max_size=120))
def test_spans_are_in_order_and_cover_every_visible_character(text: str) -> None:
    spans = split_sentences(text)
    assert all(low < high for low, high in spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    assert "".join("".join(text[low:high].split()) for low, high in spans) == "".join(text.split())


def test_sentence_at_takes_whole_sentences() -> None:
    text = "First one. Second one. Third one."
    low, high = sentence_at(text, text.index("one. Second"), text.index("Second") + 3)
    assert text[low:high] == "First one. Second one."
