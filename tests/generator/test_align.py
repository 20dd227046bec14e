"""Where a claim's words stand, and how much of it is there: values computed by hand."""

import math

import pytest

from generator.align import Evidence, align
from generator.words import Spelling, tokens_of

TOWER = "The tower opened in 1889. It is 330 metres tall. Gustave Eiffel built it."


def quoted(claim: str, text: str = TOWER) -> tuple[str, float]:
    found = align(claim, text)
    return text[found.start : found.end], round(found.score, 4)


@pytest.mark.parametrize(
    "claim",
    ["the TOWER opened in 1889", "\u201cThe tower opened in 1889\u201d", "The tower\u2014opened, in 1889!"],
)
def test_case_and_typography_do_not_matter(claim: str) -> None:
    assert quoted(claim) == ("The tower opened in 1889.", 1.0)


def test_a_number_may_be_written_out() -> None:
    assert quoted("3 keepers lived there", "Three keepers lived there.") == ("Three keepers lived there.", 1.0)


def test_a_typo_counts_three_quarters() -> None:
    # One sentence: each of its words has the rarity 1/2 + ln(2/2)/2 = 1/2; a word that nothing has, 3/2.
    assert quoted("Gustave Eifel", "Gustave Eiffel built it.")[1] == (0.5 + 0.75 * 1.5) / (0.5 + 1.5)


def test_another_word_counts_nothing() -> None:
    assert quoted("Gustave Courbet", "Gustave Eiffel built it.")[1] == 0.5 / (0.5 + 1.5)


def test_a_word_that_is_there_elsewhere_is_no_typo() -> None:
    text = "The county paid. The country did not."
    (one, other) = (Evidence([text]).coverage("country", words) for words in ("The county paid.", "The country paid."))
    assert (one, other) == (0.0, 0.99)


def test_an_ellipsis_skips_words_of_the_passage() -> None:
    text = "The committee, after long debate about the pump, voted to repair it. It rained."
    assert quoted("The committee [...] voted to repair it", text) == (text.split(" It rained")[0], 1.0)
    assert quoted("The committee \u2026 voted to sell it", text)[1] < 1


def test_two_neighbours_are_quoted_for_a_claim_of_both() -> None:
    assert quoted("The tower, which opened in 1889, is 330 metres tall") == (
        "The tower opened in 1889. It is 330 metres tall.",
        0.99,
    )


def test_one_sentence_is_quoted_where_it_is_enough() -> None:
    assert quoted("The tower opened to visitors in 1889")[0] == "The tower opened in 1889."


@pytest.mark.parametrize(
    ("claim", "most"),
    [
        ("The tower opened in 1890", 0.4),
        ("The tower did not open in 1889", 0.4),
        ("Gustave Eiffel never built it", 0.4),
    ],
)
def test_what_contradicts_leaves_little(claim: str, most: float) -> None:
    assert quoted(claim)[1] <= most


def test_a_denial_supports_a_denial() -> None:
    assert quoted("The library isn't open", "The library is not open on Sundays.")[1] == 0.99


def test_rare_words_count_more() -> None:
    # Of three sentences "lamp" is in all, "oil" in one: rarities 1/2 + ln(4/4)/2 and 1/2 + ln(4/2)/2.
    evidence = Evidence(["The lamp burned oil.", "The lamp was lit.", "A lamp."])
    lamp, oil = 0.5, 0.5 + math.log(2) / 2
    assert evidence.coverage("lamp oil", "The lamp.") == pytest.approx(lamp / (lamp + oil))
    assert evidence.coverage("lamp oil", "The oil.") == pytest.approx(oil / (lamp + oil))


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("eifel", True),  # one left out
        ("eifffel", True),  # one put in
        ("eiffal", True),  # one changed
        ("eifefl", True),  # two exchanged
        ("eiffels", True),
        ("efifel", True),
        ("eifflex", False),
        ("fiefel", False),
        ("eiffel", False),  # not misspelt
    ],
)
def test_one_slip_is_a_typo_and_two_are_not(word: str, near: bool) -> None:
    assert bool(Spelling(["eiffel", "tower"]).near(word)) == near


def test_short_words_and_numbers_have_no_typos() -> None:
    spelling = Spelling(["lamp", "18890", "opened"])
    assert not any(map(spelling.near, ("lamb", "18891")))


def test_tokens_stand_where_they_stood() -> None:
    text = "Eiffel's towers: 2,102,650 people"
    assert [(t.word, text[t.start : t.end]) for t in tokens_of(text)] == [
        ("eiffel", "Eiffel's"),
        ("tower", "towers"),
        ("2102650", "2,102,650"),
        ("people", "people"),
    ]
