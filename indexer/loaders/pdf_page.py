"""A page of a PDF as a picture, and where in it some words of its cleaned text stand."""

import io
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Any

_WIDTH = 1000  # pixels, about twice what a panel beside a chat is wide
_MOST_PIXELS = 6_000_000  # for pages that are very long or very wide
_TOGETHER = 3  # words in a row that may be found apart from the others
_ENOUGH = 0.5  # of the words

Run = tuple[int, int]  # first and last character of a page


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a page; all in shares of the page's width and height, from the upper left corner."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class PagePicture:
    """A drawn page, and the boxes of the words that were looked for; none where they were not found."""

    number: int  # from 1
    png: bytes
    width: int  # pixels
    height: int
    boxes: tuple[Box, ...]


def draw_page(data: bytes, number: int, words: str, before: str) -> PagePicture:
    """Draw page `number` (from 1) and find words on it; `before` is what the page's cleaned text has before them."""
    import pypdfium2

    pdf = pypdfium2.PdfDocument(data)
    try:
        page = pdf[number - 1]
        width, height = page.get_size()
        scale = min(_WIDTH / width, (_MOST_PIXELS / (width * height)) ** 0.5)
        bitmap = page.render(scale=scale)
        png = io.BytesIO()
        bitmap.to_pil().save(png, "PNG")
        text_page = page.get_textpage()
        runs = locate(_characters(text_page), words, before)
        position = bitmap.get_posconv(page)
        size = bitmap.width, bitmap.height
        boxes = tuple(box for run in runs for box in _boxes(text_page, run, position, size))
        return PagePicture(number, png.getvalue(), *size, boxes)
    finally:
        pdf.close()


def locate(characters: str, words: str, before: str) -> list[Run]:
    """Find words of a cleaned text among a page's own characters, which differ in spaces, hyphens and other signs.

    Letters and digits are compared alone. Of several places the one after as many letters as `before` has is taken.
    Where the page has the words in another order (columns, tables), runs of at least three are looked for, and given
    when they make up half of the words.
    """
    wanted, (letters, places) = _letters(words)[0], _letters(characters)
    if not wanted:
        return []
    starts = list(_occurrences(letters, wanted))
    if starts:
        expected = len(_letters(before)[0])
        start = min(starts, key=lambda start: abs(start - expected))
        return [(places[start], places[start + len(wanted) - 1])]
    return _apart(characters, words)


def _letters(text: str) -> tuple[str, list[int]]:
    """Letters and digits in one case and form, and the character of the text that each is of."""
    letters: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text):
        plain = [one for one in unicodedata.normalize("NFKC", char).casefold() if one.isalnum()]
        letters += plain
        places += [place] * len(plain)
    return "".join(letters), places


def _occurrences(text: str, part: str) -> Iterator[int]:
    start = text.find(part)
    while start >= 0:
        yield start
        start = text.find(part, start + 1)


def _apart(characters: str, words: str) -> list[Run]:
    have, want = _words(characters), _words(words)
    matcher = SequenceMatcher(None, [word for word, _ in want], [word for word, _ in have], autojunk=False)
    blocks = [block for block in matcher.get_matching_blocks() if block.size >= _TOGETHER]
    if sum(block.size for block in blocks) < _ENOUGH * len(want):
        return []
    return [(have[block.b][1][0], have[block.b + block.size - 1][1][1]) for block in blocks]


def _words(text: str) -> list[tuple[str, Run]]:
    edges = [-1, *(place for place, char in enumerate(text) if char.isspace()), len(text)]
    found = [(_letters(text[low + 1 : high])[0], (low + 1, high - 1)) for low, high in pairwise(edges)]
    return [(word, run) for word, run in found if word]


def _characters(text_page: Any) -> str:
    """One character for each that PDFium counts, so that places in the text are places on the page."""
    from pypdfium2 import raw

    codes = [raw.FPDFText_GetUnicode(text_page, place) for place in range(text_page.count_chars())]
    return "".join(chr(code) if 0x20 <= code <= 0x10FFFF and not 0xD800 <= code < 0xE000 else " " for code in codes)


def _boxes(text_page: Any, run: Run, position: Any, size: Sequence[int]) -> Iterator[Box]:
    """A box for each line of a run."""
    width, height = size
    first, last = run
    for index in range(text_page.count_rects(first, last - first + 1)):
        left, bottom, right, top = text_page.get_rect(index)
        (x1, y1), (x2, y2) = position.to_bitmap(left, top), position.to_bitmap(right, bottom)
        low_x, high_x, low_y, high_y = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
        yield Box(low_x / width, low_y / height, (high_x - low_x) / width, (high_y - low_y) / height)
