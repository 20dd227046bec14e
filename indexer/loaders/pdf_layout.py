"""From positioned lines to paragraphs: which line breaks a reader would not see as breaks."""

import math
import re
import statistics
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from indexer.clean import join_hyphenated
from indexer.loaders.markup import paragraph

_ITEM = re.compile(r"[•‣▪●○◦■□\u2013\u2014*·\uf076\uf0a7\uf0a8\uf0b7\uf0d8-]\s|\(?\d{1,3}[.)]\s|\(?[a-zA-Z][.)]\s")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_SENTENCE_END = re.compile(r"[.!?:;。！？؟]['\"”’)\]]*$")  # noqa: RUF001
_CONTENTS_LINE = re.compile(r".* \.\.\. \w{1,6}")
_FIGURE = re.compile(r"[-+(]?[$€£]?\d[\d.,]*[%)]?")
CELL_GAP = 1.2  # font sizes; words of a justified line stand closer
_SAME_ROW = 0.5  # lines closer than this share of the font size stand side by side
_SIZES_DIFFER = 0.15
_WIDE_GAP = 1.35  # times the usual distance of two lines
_COLUMN_WINDOW = 8  # neighbours that tell how wide the column is
_MAX_TITLE = 200


@dataclass(frozen=True, slots=True)
class Line:
    """One line as printed. Lengths are in points; y grows upward, and so does reading order fall."""

    text: str
    left: float
    right: float
    y: float  # of the baseline
    size: float  # of the font
    angle: float = 0.0  # radians by which the text is turned
    cells: tuple[tuple[float, float, str], ...] = ()  # left, right, text, where gaps are as wide as between cells
    block: bool = False  # whether its text is Markdown that stands by itself: a heading or a table


def turned(x: float, y: float, angle: float) -> tuple[float, float]:
    """Rotate a point so that text printed at `angle` runs from left to right."""
    if not angle or not math.isfinite(angle):
        return x, y
    return x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)


def vocabulary(pages: Sequence[Sequence[Line]]) -> set[str]:
    """Lowercase words of a document, without the two halves at each hyphenated line end."""
    words: set[str] = set()
    for lines in pages:
        cut = False
        for line in lines:
            found = [word.lower() for word in _WORD.findall(line.text)]
            begins_cut, cut = cut, line.text.endswith(("-", "\u2010"))
            words.update(found[1 if begins_cut else 0 : len(found) - cut])
    return words


def page_text(lines: Sequence[Line], words: set[str]) -> str:
    """Join the lines of a page: a space where a line is only wrapped, one newline or two where it ends.

    `words` are the lowercase words of the document, for hyphens at line ends.
    """
    leading = _usual_leading(lines)
    parts: list[str] = []
    for index, line in enumerate(lines):
        joint = _joint(lines, index - 1, leading) if index else ""
        if parts and joint == " " and parts[-1].endswith(("-", "\u2010")):
            parts[-1] = join_hyphenated(parts[-1], line.text, words)
        else:
            parts += [joint, line.text if line.block else paragraph(line.text)]
    return "".join(parts)


def _joint(lines: Sequence[Line], index: int, leading: float) -> str:
    """What stands between line `index` and the next: a space, a newline or a blank line."""
    line, following = lines[index], lines[index + 1]
    size = max(line.size, following.size)
    drop = line.y - following.y
    if line.angle != following.angle or line.block or following.block:
        return "\n\n"
    if abs(drop) < _SAME_ROW * size:
        return " "
    goes_on = not _SENTENCE_END.search(line.text[-20:]) and following.text[:1].islower()
    if drop < 0:  # on to the next column
        return " " if goes_on or line.text.endswith("-") else "\n\n"
    if abs(line.size - following.size) > _SIZES_DIFFER * size or drop / size > _WIDE_GAP * leading:
        return "\n\n"
    if _ITEM.match(following.text) or _is_row(lines, index) or _is_row(lines, index + 1):
        return "\n"
    return " " if line.text.endswith("-") or _is_full(lines, index) else "\n"


def _is_row(lines: Sequence[Line], index: int) -> bool:
    """Whether a line is in a row of a table, a row of figures, or an entry of a table of contents."""
    line = lines[index]
    words = line.text.split()
    figures = sum(bool(_FIGURE.fullmatch(word)) for word in words)
    beside = (
        abs(other.y - line.y) < _SAME_ROW * line.size
        and max(other.left - line.right, line.left - other.right) > line.size
        for other in (*lines[max(0, index - 1) : index], *lines[index + 1 : index + 2])
    )
    return (
        bool(line.cells)
        or bool(_CONTENTS_LINE.fullmatch(line.text))
        or (len(words) >= 3 and 2 * figures >= len(words))
        or any(beside)
    )


def _is_full(lines: Sequence[Line], index: int) -> bool:
    """Whether the first word of the next line would not have fitted at the end of this one."""
    line, following = lines[index], lines[index + 1]
    near = lines[max(0, index - _COLUMN_WINDOW) : index + _COLUMN_WINDOW + 1]
    column = [
        other
        for other in near
        if other.angle == line.angle
        and min(other.right, line.right) > max(other.left, line.left)
        and abs(other.size - line.size) <= _SIZES_DIFFER * line.size
    ]
    if _reads_right_to_left(line.text):
        room = line.left - min(other.left for other in column)
    else:
        room = max(other.right for other in column) - line.right
    letter = (following.right - following.left) / max(len(following.text), 1)
    return room < (len(following.text.split(" ", 1)[0]) + 1) * letter


def _reads_right_to_left(text: str) -> bool:
    classes = (unicodedata.bidirectional(char) for char in text)
    return next((kind for kind in classes if kind in ("L", "R", "AL")), "L") != "L"


def _usual_leading(lines: Sequence[Line]) -> float:
    """Distance of two lines of a paragraph in font sizes: the lower quartile, as gaps between paragraphs are wider."""
    drops = [(a.y - b.y) / max(a.size, b.size) for a, b in pairwise(lines)]
    usual = [drop for drop in drops if 0.8 < drop < 3]
    return statistics.quantiles(usual, n=4)[0] if len(usual) > 1 else usual[0] if usual else 1.2


def title_of(lines: Sequence[Line]) -> str:
    """The lines of the first page in its largest type, when that is larger than the usual; else nothing."""
    if not lines:
        return ""
    lines = [line for line in lines if line.angle == lines[len(lines) // 2].angle]
    usual, largest = statistics.median(line.size for line in lines), max(line.size for line in lines)
    if largest < usual * (1 + _SIZES_DIFFER):
        return ""
    first = next(index for index, line in enumerate(lines) if line.size > largest * 0.98)
    title = ""
    for line in lines[first:]:
        if line.size <= largest * 0.98 or len(title) + len(line.text) > _MAX_TITLE:
            break
        title = f"{title} {line.text}".strip()
    return title
