"""Footnote markers in an answer's text: taken out, put back in, and left alone where they are code."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_RANGE = 10
_LIST = r"\d{1,9}(?:\s*(?:[,;&\u2013-]|and)\s*\d{1,9})*"
_MARKER = re.compile(
    rf"[ \t]*(?:\[\s*\^?\s*({_LIST})\s*\]|\u3010\s*({_LIST})\s*(?:\u2020[^\u3011]*)?\u3011)"
    r"(?:[ \t]+(?=[.,;:!?](?:\s|$)))?"  # "tall [1] ." has a space too many
)
# An info string has no backtick, and a fence that is never closed goes on to the end (CommonMark 0.31, section 4.5).
_BLOCK = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})(?P<info>[^`\n]*)(?:\n(?P<code>.*?))??(?:\n[ \t]*(?P=fence)[`~]*[ \t]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
_INLINE = re.compile(r"`[^`\n]+`")


@dataclass(frozen=True, slots=True)
class Mark:
    """Markers taken out of one place: the numbers in them, and where they stood in the text without markers."""

    at: int
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Marked:
    """A text with markers put in."""

    text: str
    inserted: tuple[tuple[int, int], ...]  # (offset in the text without markers, characters), in order
    stripped: int  # characters of white space that went from the beginning

    def offset(self, plain: int, *, behind: bool) -> int:
        """Where a character of the text without markers is now, behind markers put in exactly there or before them."""
        before = sum(size for at, size in self.inserted if at < plain or (behind and at == plain))
        return max(0, plain + before - self.stripped)


def code_blocks(text: str) -> list[tuple[int, int, str]]:
    """(start, end, code) of each fenced block."""
    return [(found.start(), found.end(), found["code"] or "") for found in _BLOCK.finditer(text)]


def code_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of fenced blocks and of code within a line."""
    blocks = [(low, high) for low, high, _ in code_blocks(text)]
    inline = [found.span() for found in _INLINE.finditer(text)]
    return blocks + [span for span in inline if not any(low <= span[0] < high for low, high in blocks)]


def take_out(text: str) -> tuple[str, list[Mark]]:
    """The text without its markers, and the markers. What looks like one in code is code."""
    code = code_spans(text)
    pieces: list[str] = []
    marks: list[Mark] = []
    done = length = 0
    for found in _MARKER.finditer(text):
        if any(low < found.end() and found.start() < high for low, high in code):
            continue
        piece = text[done : found.start()]
        pieces.append(piece)
        length += len(piece)
        numbers = _numbers(found.group(1) or found.group(2))
        if marks and marks[-1].at == length:
            numbers = (*marks.pop().numbers, *numbers)
        marks.append(Mark(length, tuple(dict.fromkeys(numbers))))
        done = found.end()
    return "".join([*pieces, text[done:]]), marks


def put_in(plain: str, placed: Mapping[int, Sequence[int]]) -> Marked:
    """Put markers [1][2] where they are wanted, and strip the text."""
    pieces: list[str] = []
    inserted: list[tuple[int, int]] = []
    done = 0
    for at, numbers in sorted(placed.items()):
        markers = "".join(f"[{number}]" for number in numbers)
        before = plain[:at]
        markers = markers if not before.strip() or before[-1].isspace() else f" {markers}"
        pieces += [plain[done:at], markers]
        inserted.append((at, len(markers)))
        done = at
    whole = "".join([*pieces, plain[done:]])
    return Marked(whole.strip(), tuple(inserted), len(whole) - len(whole.lstrip()))


def _numbers(listed: str) -> tuple[int, ...]:
    """Numbers of "1, 2" and "1-3"."""
    numbers: list[int] = []
    for part in re.split(r"\s*(?:[,;&]|and)\s*", listed):
        first, *rest = (int(n) for n in re.split(r"\s*[\u2013-]\s*", part))
        last = rest[-1] if rest else first
        numbers += range(first, last + 1) if first <= last < first + _RANGE else [first, last]
    return tuple(dict.fromkeys(numbers))
