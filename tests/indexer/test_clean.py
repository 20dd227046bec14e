import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.clean import MAX_COMBINING, PAGE_BREAK, clean_pages, clean_text, join_hyphenated, running_lines

ANY_TEXT = st.text(st.characters(), max_size=200) | st.text("a \t\r\n\x0c\u00ad\ufb01\u0301\u200b\ud800é", max_size=60)


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("ﬁrst oﬃce ﬂow", "first office flow"),
        ("cafe\u0301", "café"),
        ("co\u00adoperate zero\u200bwidth \ufeffmark", "cooperate zerowidth mark"),
        ("one\r\ntwo\rthree\x0cfour\u2028five\x85six", "one\ntwo\nthree\nfour\nfive\nsix"),
        ("bell\x07 nul\x00 escape\x1b[0m c1\x9b", "bell nul escape[0m c1"),
        ("non\u00a0breaking\u2009thin\u3000wide", "non breaking thin wide"),
        ("a\tb\n\tc", "a   b\n    c"),
        ("a  \nb   ", "a\nb"),
        ("\n\n\na\n\n\n\n\nb\n\n", "a\n\nb"),
        ("lone \ud83d surrogate", "lone \ufffd surrogate"),
        ("hidden\U000e0041\U000e0042 tags\u202eoverride", "hidden tagsoverride"),
        ("\ufefb\ufe8e", "لاا"),
        ("نمی\u200cرود 👩\u200d🔬", "نمی\u200cرود 👩\u200d🔬"),
        ("    def indented():\n        pass", "    def indented():\n        pass"),
        ("2\u00b2 \u2126 \u00bd", "2\u00b2 Ω \u00bd"),
    ],
)
def test_clean_text(raw: str, cleaned: str) -> None:
    assert clean_text(raw) == cleaned


def test_a_pile_of_marks_is_cut_and_stays_fast() -> None:
    pile = "e" + "\u0301\u0323" * 200_000 + "x"
    cleaned = clean_text(pile)
    assert len(cleaned) <= MAX_COMBINING + 2
    assert cleaned.endswith("x")


@given(ANY_TEXT)
def test_clean_text_is_idempotent_normal_and_free_of_controls(text: str) -> None:
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned
    assert unicodedata.is_normalized("NFC", cleaned)
    assert not [char for char in cleaned if unicodedata.category(char) in ("Cc", "Cs") and char != "\n"]
    assert not [line for line in cleaned.split("\n") if line != line.rstrip()]
    assert "\n\n\n" not in cleaned


@given(st.text(st.characters(categories=("L", "N", "P", "S")), max_size=100))
def test_clean_text_keeps_every_visible_character_up_to_compatibility(text: str) -> None:
    def plain(value: str) -> str:
        return unicodedata.normalize("NFKC", value).replace("\u2022", "")

    # NFKC of the whole may compose across what NFC leaves apart, so letters are compared, not strings.
    assert sorted(plain(clean_text(text))) == sorted(plain(unicodedata.normalize("NFC", text)))


@given(st.lists(ANY_TEXT, max_size=8))
def test_page_offsets_rise_and_point_at_the_pages(pages: list[str]) -> None:
    text, offsets = clean_pages(pages)
    assert len(offsets) == len(pages)
    assert list(offsets) == sorted(offsets)
    assert all(0 <= offset <= len(text) for offset in offsets)
    for page, offset in zip(pages, offsets, strict=True):
        assert text.startswith(clean_text(page), offset)


def test_an_empty_page_begins_where_the_next_text_does() -> None:
    text, offsets = clean_pages(["", "first", " \n ", "third", ""])
    assert text == f"first{PAGE_BREAK}third"
    assert offsets == (0, 0, 7, 7, 12)


class TestRunningLines:
    def test_header_and_counting_footer(self) -> None:
        pages = [["Harbour Board", "The tide" * n, "rose" * n, f"Page {n} of 4"] for n in range(1, 5)]
        assert running_lines(pages) == [{0, 3}] * 4

    def test_two_pages_are_not_enough(self) -> None:
        assert running_lines([["Harbour Board", "a", "b"], ["Harbour Board", "c", "d"]]) == [set(), set()]

    def test_an_unmistakable_page_label_needs_no_third_page(self) -> None:
        assert running_lines([["Words", "Page 1 of 2"], ["Page 2 of 2"]]) == [{1}, {0}]
        assert running_lines([["Words", "Page 9 tells of it"]]) == [set()]

    def test_bare_and_roman_page_numbers(self) -> None:
        assert running_lines([["text" * n, f"- {n} -"] for n in (7, 8, 9)]) == [{1}] * 3
        assert running_lines([["text" + 3 * numeral, numeral] for numeral in ("iii", "iv", "v")]) == [{1}] * 3

    def test_left_and_right_pages_differ(self) -> None:
        pages = [[f"{n} Tides" if n % 2 else f"Harbours {n}", "some" * n, "more" * n] for n in range(1, 7)]
        assert running_lines(pages) == [{0}] * 6

    def test_numbers_that_do_not_count_with_the_pages_stay(self) -> None:
        assert running_lines([["Total", f"{n} ships"] for n in (12, 90, 31)]) == [{0}] * 3

    def test_chapter_headings_stay(self) -> None:
        assert running_lines([[f"Chapter {n}", f"words of {n * n} kinds", "end" * n] for n in (1, 2, 3)]) == [set()] * 3

    def test_a_chapter_named_on_all_its_pages_is_running(self) -> None:
        assert running_lines([["words" * n, f"Chapter 2. Winds {n}"] for n in (40, 41, 42)]) == [{1}] * 3

    def test_a_repeated_line_inside_the_text_stays(self) -> None:
        pages = [[f"opening {n * n}", "Refrain", f"close {n * n * n}"] for n in (2, 5, 11)]
        assert running_lines(pages) == [set()] * 3

    def test_pages_that_are_all_alike_keep_their_text(self) -> None:
        assert running_lines([["Form", "name", "date", "3"]] * 4) == [{0, 3}] * 4

    def test_far_apart_repeats_stay(self) -> None:
        pages = [["Notes" if n % 5 == 0 else f"text {n * n}", f"body {n**3}"] for n in range(12)]
        assert running_lines(pages) == [set()] * 12

    @given(st.lists(st.lists(st.text("ab1 iv-", max_size=6), max_size=8), max_size=8))
    def test_only_lines_at_an_edge_are_named(self, pages: list[list[str]]) -> None:
        for found, lines in zip(running_lines(pages), pages, strict=True):
            inner = set(range(len(lines))) - found
            assert inner or len(lines) < 3
            assert not inner or found == set(range(min(inner))) | set(range(max(inner) + 1, len(lines)))


@pytest.mark.parametrize(
    ("first", "second", "words", "joined"),
    [
        ("infor-", "mation is", set(), "information is"),
        ("Lucene-", "BM25 system", set(), "Lucene-BM25 system"),
        ("pages 12-", "14", set(), "pages 12-14"),
        ("well-", "known", {"well-known"}, "well-known"),
        ("well-", "known", {"well-known", "wellknown"}, "wellknown"),
        ("high-", "dimensional", {"high", "dimensional"}, "high-dimensional"),
        ("over-", "view", {"over", "view", "overview"}, "overview"),
        ("in-", "formation", {"in", "formation"}, "information"),
        ("-", "x", set(), "-x"),
        ("vor\u2010", "gestern", set(), "vorgestern"),
    ],
)
def test_join_hyphenated(first: str, second: str, words: set[str], joined: str) -> None:
    assert join_hyphenated(first, second, words) == joined
