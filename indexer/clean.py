"""Cleaning: pure functions from what a loader extracted to the text that every offset refers to.

`clean_text` is idempotent. Changing anything here, or what a loader extracts, changes document text: raise
CLEANER_VERSION with it.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import product

CLEANER_VERSION = "2"

PAGE_BREAK = "\n\n"  # stands between the texts of two pages
MAX_COMBINING = 30  # marks on one base character, the limit of the Stream-Safe Text Format (UAX #15)
EDGE_LINES = 3  # lines at the top and at the bottom of a page that may be running headers and footers
MIN_HALF = 4  # letters of a half of a hyphenated word that may be a word itself
RUN_PAGES = 3  # pages on which a line must return to count as running

_NEWLINES = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_BLANK_LINES = re.compile(r"\n{3,}")
_LIGATURES = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st", 0xFB06: "st"}
_NUMBER = re.compile(r"\d+")
_PAGE_LABEL = re.compile(r"(page|seite|página|pagina|p\.) ?\d{1,5}( ?(/|of|von|de|di|sur) ?\d{1,5})?", re.IGNORECASE)
_ROMAN = re.compile(r"(?=[ivxl])(x{0,3}|xl|lx{0,3})(ix|iv|v?i{0,3})")
_DIVISION = re.compile(
    r"(chapter|section|part|book|act|scene|lesson|unit|article|appendix|table|figure|question|exercise"
    r"|kapitel|abschnitt|teil|chapitre|partie|cap[ií]tulo|parte|capitolo)\b"
)


def _replacements() -> dict[int, str | None]:
    """What `str.translate` does to single characters: spaces made plain, invisible ones dropped."""
    table: dict[int, str | None] = dict(_LIGATURES)
    table |= {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (0x09, 0x0A)}
    table |= dict.fromkeys((0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), " ")
    # Soft hyphen, zero-width space, marks and overrides of direction, word joiner, byte order mark. The two
    # zero-width joiners stay: Persian, Indic scripts and emoji need them.
    table |= dict.fromkeys((0xAD, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF))
    table |= dict.fromkeys((0xF076, 0xF0A7, 0xF0A8, 0xF0B7, 0xF0D8), "•")  # bullets of Symbol and Wingdings
    # Noncharacters, and the tag characters: text that a reader cannot see must not reach a model.
    table |= dict.fromkeys((*range(0xFDD0, 0xFDF0), 0xFFFE, 0xFFFF, *range(0xE0000, 0xE0080)))
    table |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
    # Arabic letters in their joined shapes, as PDF files store them, become the letters that people type.
    for code in (*range(0xFB50, 0xFDD0), *range(0xFE70, 0xFEFD)):
        plain = unicodedata.normalize("NFKC", chr(code))
        if plain != chr(code):
            table[code] = plain
    return table


_TABLE = _replacements()


@cache
def _combining_run() -> re.Pattern[str]:
    codes = [code for code in range(0x300, 0x1F000) if unicodedata.combining(chr(code))]
    marks = "".join(map(chr, codes))
    return re.compile(f"([{marks}]{{{MAX_COMBINING}}})[{marks}]+")


def clean_text(text: str) -> str:
    """Normalise one text: Unicode NFC, no control characters but newline, no trailing spaces, no runs of blank lines.

    Also: ligatures expanded, soft hyphens and invisible characters dropped, tabs made spaces, every kind of
    space made a plain one, lone surrogates made U+FFFD. Words and punctuation are left as they are.
    """
    text = _NEWLINES.sub("\n", text).expandtabs(4)
    if not text.isascii() or not text.replace("\n", "").isprintable():
        text = text.translate(_TABLE)
    if not text.isascii():
        # Unbounded runs of marks make canonical ordering quadratic, so they are cut before normalising.
        text = unicodedata.normalize("NFC", _combining_run().sub(r"\1", text))
        text = _combining_run().sub(r"\1", text)
    text = "\n".join(line.rstrip(" ") for line in text.split("\n"))
    return _BLANK_LINES.sub("\n\n", text).strip("\n")


def clean_pages(pages: Sequence[str]) -> tuple[str, tuple[int, ...]]:
    """Clean each page and join them; also return the offset where each page begins.

    The offsets never fall. A page without text begins where the next page with text does.
    """
    cleaned = [clean_text(page) for page in pages]
    text = PAGE_BREAK.join(filter(None, cleaned))
    offsets: list[int] = []
    position = 0
    for page in cleaned:
        offsets.append(min(position, len(text)))
        position += len(page) + len(PAGE_BREAK) if page else 0
    return text, tuple(offsets)


def running_lines(pages: Sequence[Sequence[str]]) -> list[set[int]]:
    """Find repeated headers, footers and page numbers: for each page, the indexes of such lines.

    Each page is its lines from top to bottom. A line is running when it stands within EDGE_LINES of an edge on
    at least RUN_PAGES pages, no two of them more than two apart (left and right pages differ), with numbers that
    stay the same or count up with the pages; "Page 2 of 9" at an edge always is one. "Chapter 3" at the top of a
    page is a heading, not a running line.
    """
    seen: dict[_Key, dict[int, int]] = defaultdict(dict)
    for number, lines in enumerate(pages):
        for index in _edge_indexes(len(lines)):
            for key in _running_keys(lines[index], number):
                seen[key].setdefault(number, index)
    found = [{i for i in _edge_indexes(len(lines)) if _PAGE_LABEL.fullmatch(lines[i].strip())} for lines in pages]
    for places in seen.values():
        for run in _runs(sorted(places)):
            for number in run:
                found[number].add(places[number])
    return [_from_the_edges(marked, len(lines)) for marked, lines in zip(found, pages, strict=True)]


_Key = tuple[str, tuple[int | None, ...], tuple[int, ...]]


def _edge_indexes(count: int) -> list[int]:
    return sorted({*range(min(EDGE_LINES, count)), *range(max(0, count - EDGE_LINES), count)})


def _running_keys(line: str, page: int) -> Iterable[_Key]:
    """Keys that two lines share when one could be the other's running line on another page."""
    plain = " ".join(line.casefold().split())
    if not plain:
        return
    numbers = [int(digits[-9:]) for digits in _NUMBER.findall(plain)]
    if not numbers and (roman := plain.strip("-\u2013\u2014 .[]()")) and _ROMAN.fullmatch(roman):
        numbers, plain = [_roman_value(roman)], plain.replace(roman, "0")
    pattern = _NUMBER.sub("#", plain)
    if len(numbers) > EDGE_LINES:
        yield plain, (), ()
        return
    choices = [(False, True)] * len(numbers)
    if choices and _DIVISION.match(plain):
        choices[0] = (False, False)  # the number of a chapter does not count the pages
    for counts_up in set(product(*choices)):
        yield pattern, tuple(n - page if up else n for n, up in zip(numbers, counts_up, strict=True)), counts_up


def _roman_value(numeral: str) -> int:
    values = [{"i": 1, "v": 5, "x": 10, "l": 50}[letter] for letter in numeral]
    return sum(-v if v < max(values[i:]) else v for i, v in enumerate(values))


def _runs(numbers: Sequence[int]) -> Iterable[list[int]]:
    """Split rising page numbers where a gap is wider than two; give back the runs that are long enough."""
    run: list[int] = []
    for number in numbers:
        if run and number - run[-1] > 2:
            if len(run) >= RUN_PAGES:
                yield run
            run = []
        run.append(number)
    if len(run) >= RUN_PAGES:
        yield run


def _from_the_edges(marked: set[int], count: int) -> set[int]:
    """Keep only marked lines with nothing but marked lines between them and an edge of the page."""
    kept: set[int] = set()
    for indexes in (range(count), range(count - 1, -1, -1)):
        for index in indexes:
            if index not in marked:
                break
            kept.add(index)
    # Pages that repeat each other from top to bottom are more than their headers: one line at each edge goes.
    return {0, count - 1} if len(kept) == count > 2 else kept


def join_hyphenated(first: str, second: str, words: frozenset[str] | set[str] = frozenset()) -> str:
    """Join a line that ends in a hyphen with the line that follows.

    The hyphen goes when it stands between lowercase letters, unless `words` (lowercase, of the same document)
    speak for it: they lack the joined word, and hold the hyphenated one or both halves as words of some length.
    So "infor-" + "mation" is "information", and "high-" + "dimensional" mostly stays "high-dimensional".
    """
    head, tail = first.rstrip("-\u2010\u00ad"), second
    before, after = _LAST_WORD.search(head[-60:]), _FIRST_WORD.match(tail[:60])
    if not before or not after or not head[-1].islower() or not tail[0].islower():
        return f"{head}-{tail}"
    left, right = before.group().lower(), after.group().lower()
    two_words = min(len(left), len(right)) >= MIN_HALF and left in words and right in words
    if f"{left}{right}" not in words and (two_words or f"{left}-{right}" in words):
        return f"{head}-{tail}"
    return head + tail


_LAST_WORD = re.compile(r"[^\W\d_]+$")
_FIRST_WORD = re.compile(r"[^\W\d_]+")
