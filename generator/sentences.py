"""Sentences with offsets, for prose, lists, tables and lines of records."""

import re

_CJK_STOPS = "\u3002\uff01\uff1f"
_CLOSING = "\"'\u201d\u2019\u00bb)\\]"
_OPENING = "(\"'\u201c\u2018["
_END = re.compile(rf"[.!?\u2026{_CJK_STOPS}]+[{_CLOSING}]*(?=\s|$)|[{_CJK_STOPS}]+")
_LINE = re.compile(r"[^\n]+")
_ITEM = re.compile(r"\s*(?:[-*+\u2022]|\d{1,3}[.)])\s")
_ALONE = re.compile(r"\s*(?:\||#{1,6}\s|>|```)|(?:\s*\w[^:;|\n]{0,40}: [^;]*;){2}")
_ABBREVIATION = re.compile(
    r"mrs?|ms|dr|prof|sr|jr|st|gen|col|lt|capt|sgt|rev|hon|gov|sen|rep|pres|vs|etc|e\.g|i\.e|cf|al|approx|ca|c|figs?"
    r"|nos?|vol|pp?|eds?|inc|ltd|co|corp|bros|dept|est|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mt|ft"
)
_MAY_END = re.compile(
    r"[ap]\.m|u\.[sk]|ph\.d|b\.c|a\.d|d\.c|etc|inc|ltd|co|corp|jr|sr"
)  # abbreviations at a sentence's end


def split_sentences(text: str) -> tuple[tuple[int, int], ...]:
    """Split into (start, end) offsets, in order and without outer white space.

    A table row, a list item, a heading and a record line (`Name: value; Name: value`) are each one sentence; prose
    goes on across single line ends. Blank text has none.
    """
    found: list[tuple[int, int]] = []
    for low, high in _paragraphs(text):
        found += _in_prose(text, low, high)
    return tuple(found)


def sentence_at(text: str, start: int, end: int) -> tuple[int, int]:
    """The sentence, or the run of sentences, that covers start to end."""
    touched = [span for span in split_sentences(text) if span[0] < end and start < span[1]]
    return (min(touched[0][0], start), max(touched[-1][1], end)) if touched else (start, end)


def _paragraphs(text: str) -> list[tuple[int, int]]:
    """Runs of prose lines, and single lines that stand for themselves."""
    runs: list[tuple[int, int]] = []
    is_open = False
    last = 0
    for line in _LINE.finditer(text):
        if not line.group().strip():
            is_open = False
            continue
        item = bool(_ITEM.match(line.group()))
        alone = item or bool(_ALONE.match(line.group()))
        if is_open and not alone and "\n\n" not in text[last : line.start()]:
            runs[-1] = (runs[-1][0], line.end())
        else:
            runs.append((line.start(), line.end()))
        # A list item goes on in the line below it; a table row or a heading does not.
        is_open = item or not alone
        last = line.end()
    return runs


def _in_prose(text: str, low: int, high: int) -> list[tuple[int, int]]:
    if text[low:high].lstrip().startswith("|"):
        return _stripped(text, [(low, high)])
    pieces = []
    start = low
    for mark in _END.finditer(text, low, high):
        if _ends_here(text, start, mark.start(), mark.end(), high):
            pieces.append((start, mark.end()))
            start = mark.end()
    return _stripped(text, [*pieces, (start, high)])


def _ends_here(text: str, start: int, mark: int, end: int, high: int) -> bool:
    if text[mark] != "." or text[mark:end].startswith(".."):
        following = text[end:high].lstrip()
        return not following[:1].islower()
    words = text[start:mark].split()
    word = words[-1].lstrip(_OPENING).lower() if words else ""
    following = text[end:high].lstrip()
    if not words or (word.isdigit() and len(words) == 1):
        return False  # "1. First point"
    if following[:1].islower():
        return False
    if _MAY_END.fullmatch(word):
        return following[:1].isupper()
    is_initial = len(word) == 1 and word.isalpha() and words[-1].lstrip(_OPENING).isupper() and word != "i"
    return not is_initial and not _ABBREVIATION.fullmatch(word)


def _stripped(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    kept = []
    for low, high in spans:
        piece = text[low:high]
        start = low + len(piece) - len(piece.lstrip())
        if piece.strip():
            kept.append((start, start + len(piece.strip())))
    return kept
