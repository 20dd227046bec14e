"""Rows as sentences that name their columns, so that a row answers wherever a long table is cut."""

import re
from collections import Counter
from collections.abc import Sequence

_NUMBER = re.compile(r"[-+(]?[$€£¥]?\s?\d[\d.,' ]*[%)]?")
_YEAR = re.compile(r"(1[5-9]|2[01])\d\d")


def table_sentences(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line a row, and one that lists the columns. Lines above the header stay, and surplus cells of odd rows."""
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    above = 0
    while width > 1 and above < len(rows) - 1 and sum(map(bool, rows[above])) == 1:
        above += 1
    preamble = ["; ".join(filter(None, row)) for row in rows[:above]]
    table = rows[above:]
    if len(table) < 2 or not _names_columns(table[0], table[1]):
        return preamble + ["; ".join(filter(None, row)) for row in table]
    header = table[0]
    columns = "Columns: " + "; ".join(filter(None, header))
    return [*preamble, columns, *(row_sentence(header, row) for row in table[1:])]


def _names_columns(first: Sequence[str], second: Sequence[str]) -> bool:
    cells = [cell for cell in first if cell]
    return len(set(cells)) == len(cells) and is_header(first, second)


def row_sentence(header: Sequence[str], row: Sequence[str]) -> str:
    """`Header: value; Header: value`; a first column without a name is the row's own name."""
    names = [*header[: len(row)], *[""] * (len(row) - len(header))]
    cells = enumerate(zip(names, row, strict=True), 1)
    return "; ".join(_cell(number, name, cell) for number, (name, cell) in cells if cell)


def _cell(number: int, name: str, cell: str) -> str:
    if not name and number == 1:
        return cell
    return f"{name or f'Column {number}'}: {cell}"


def is_header(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether a row names columns: one that is mostly numbers is data, unless they are years above other values."""
    cells = [cell for cell in first if cell]
    numbers = sum(
        bool(_NUMBER.fullmatch(cell)) and not (_YEAR.fullmatch(cell) and not _YEAR.fullmatch(below))
        for cell, below in zip(first, [*second, *[""] * len(first)], strict=False)
    )
    return numbers * 2 < len(cells)
