"""The Markdown that documents are turned into: escaped paragraphs, fenced code, tables."""

import re
from bisect import bisect_left
from collections.abc import Sequence

from indexer.loaders.table import is_header, row_sentence

_MARKS_A_BLOCK = re.compile(r" {0,3}(#{1,6}(\s|$)|```|~~~)")
_BEFORE = frozenset(("$", "€", "£", "¥", "(", "$(", "($", "US$"))
_AFTER = frozenset((")", "%", ")%", "%)"))
_MAX_CELLS = 1_000_000
_LONG_TABLE = 1200  # characters; a longer table would be cut, and its later chunks would lack the header
_FENCE = re.compile(r"`{3,}")


def paragraph(text: str) -> str:
    """Keep a paragraph from reading as a heading or as the start of code."""
    return "\n".join("\\" + line.lstrip() if _MARKS_A_BLOCK.match(line) else line for line in text.split("\n"))


def fenced(code: str) -> str:
    """Code in a fence longer than any inside it."""
    fence = "`" * max(3, 1 + max(map(len, _FENCE.findall(code)), default=0))
    return f"{fence}\n{code.strip(chr(10))}\n{fence}"


def pipe_table(rows: Sequence[Sequence[str]]) -> str:
    """Write rows as a Markdown pipe table with the first row as header; empty rows and columns are left out.

    A table too long for one chunk becomes a list, each item a row that names its columns, unless no row names them.
    A table of one column or one row is layout, not data: its cells become paragraphs.
    """
    flat = [[" ".join(cell.split()) for cell in row] for row in rows]
    used = sorted({index for row in flat for index, cell in enumerate(row) if cell})
    kept = [[row[index] for index in used[: bisect_left(used, len(row))]] for row in flat if any(row)]
    if len(used) < 2 or len(kept) < 2:
        return "\n\n".join(paragraph(cell) for row in kept for cell in row if cell)
    width = len(used)
    if width * len(kept) <= _MAX_CELLS:
        kept = _join_symbols([row + [""] * (width - len(row)) for row in kept])
        width = len(kept[0])
    if sum(len(cell) + 3 for row in kept for cell in row) > _LONG_TABLE and _names_columns(kept):
        return "\n".join(f"- {row_sentence(kept[0], row)}" for row in kept[1:])
    lines = [_line(row) for row in kept]
    lines.insert(1, "|" + " --- |" * width)
    return "\n".join(lines)


def _names_columns(rows: Sequence[Sequence[str]]) -> bool:
    return sum(map(bool, rows[0])) * 2 > len(rows[0]) and is_header(rows[0], rows[1])


def _join_symbols(rows: list[list[str]]) -> list[list[str]]:
    """Join columns that hold nothing but currency signs, brackets or % to the figures they belong to.

    Financial statements in HTML put "$", "(1,234" and ")" into three cells.
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    joined = columns[:1]
    for column in columns[1:]:
        last = joined[-1]
        signs = _only(last, _BEFORE) or _only(column, _AFTER)
        if signs and not (last[0] and column[0]):
            joined[-1] = [left + right for left, right in zip(last, column, strict=True)]
        else:
            joined.append(column)
    return [list(row) for row in zip(*joined, strict=True)]


def _only(column: Sequence[str], signs: frozenset[str]) -> bool:
    """Whether the cells below the header are signs or empty, and some are signs."""
    return any(column[1:]) and signs.issuperset(filter(None, column[1:]))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
