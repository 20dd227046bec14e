"""Which lines of a PDF are headings: those that its outline names, and those set in larger type than the text."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from indexer.loaders.pdf_layout import Line

Outline = Mapping[int, Sequence[tuple[int, str]]]  # page (from 0) -> (level from 1, title)
_NUMBERED = re.compile(r"(?:[12]?\d|[A-Z])((?:\.\d{1,2}){0,4})\.?\s+[^\W\d_].{1,80}")
_LARGER = 1.15  # times the size of the text; a numbered title needs less
_NUMBERED_LARGER = 1.04
_MAX_LINES = 3
_MAX_CHARS = 150
_MAX_SHARE = 0.2  # of the lines; where more are larger than the rest, size says nothing
_LEVELS = 3  # sizes that are told apart
_ROUND_PT = 0.5


def mark_headings(pages: Sequence[Sequence[Line]], outline: Outline) -> list[list[Line]]:
    """Give the lines that are headings their level, and join those that go on in a second or third line.

    A heuristic: a heading that is only bold, and that no outline names, stays a line of its own.
    """
    usual = _usual_size(pages)
    sizes = _heading_sizes(pages, usual)
    return [list(_marked(lines, outline.get(number, ()), usual, sizes)) for number, lines in enumerate(pages)]


def _upright(lines: Sequence[Line]) -> float:
    """The angle of most lines: a stamp along the margin is no heading."""
    return Counter(line.angle for line in lines).most_common(1)[0][0]


def _usual_size(pages: Sequence[Sequence[Line]]) -> float:
    """The size in which most characters are set."""
    counts: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            counts[_rounded(line.size)] += len(line.text)
    return counts.most_common(1)[0][0] if counts else 0.0


def _heading_sizes(pages: Sequence[Sequence[Line]], usual: float) -> list[float]:
    """Sizes of larger lines, largest first; none when so many lines are larger that they are no headings."""
    larger = [_rounded(line.size) for lines in pages for line in lines if _is_larger(line, usual)]
    if len(larger) > _MAX_SHARE * sum(map(len, pages)) + 1:
        return []
    return sorted(set(larger), reverse=True)


def _is_larger(line: Line, usual: float) -> bool:
    return (
        line.size >= _LARGER * usual
        and not line.cells
        and len(line.text) <= _MAX_CHARS
        and sum(map(str.isalpha, line.text)) >= 3
    )


def _marked(
    lines: Sequence[Line], titles: Sequence[tuple[int, str]], usual: float, sizes: Sequence[float]
) -> Iterator[Line]:
    named = {_squeezed(title): level for level, title in titles}
    upright = _upright(lines) if lines else 0.0
    at = 0
    while at < len(lines):
        count, level = _heading_at(lines, at, named, usual, sizes)
        if not level or lines[at].angle != upright:
            yield lines[at]
            at += 1
            continue
        group = lines[at : at + count]
        yield replace(
            group[-1],
            text=f"{'#' * level} {' '.join(line.text for line in group)}",
            left=min(line.left for line in group),
            right=max(line.right for line in group),
            block=True,
        )
        at += count


def _heading_at(
    lines: Sequence[Line], at: int, named: Mapping[str, int], usual: float, sizes: Sequence[float]
) -> tuple[int, int]:
    """How many lines from `at` on are a heading, and of what level; level 0 when none is."""
    for count in range(1, min(_MAX_LINES, len(lines) - at) + 1):
        if level := named.get(_squeezed("".join(line.text for line in lines[at : at + count])), 0):
            return count, min(level, 6)
    line = lines[at]
    numbered = _NUMBERED.fullmatch(line.text)
    if numbered and not line.cells and line.size >= _NUMBERED_LARGER * usual:
        return 1, min(2 + numbered[1].count("."), 6)
    if not sizes or not _is_larger(line, usual):
        return 1, 0
    count = 1
    while at + count < len(lines) and count < _MAX_LINES and _goes_on(lines[at + count - 1], lines[at + count]):
        count += 1
    return count, min(sizes.index(_rounded(line.size)) + 1, _LEVELS)


def _goes_on(line: Line, following: Line) -> bool:
    same = _rounded(line.size) == _rounded(following.size) and line.angle == following.angle
    return same and 0 < line.y - following.y < 1.6 * line.size and not _NUMBERED.fullmatch(following.text)


def _squeezed(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())


def _rounded(size: float) -> float:
    return round(size / _ROUND_PT) * _ROUND_PT
