"""CSV and TSV: one self-contained line a row, `Header: value; Header: value`."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice

from indexer.loaders.decode import decode
from indexer.loaders.extract import Extract

_DELIMITERS = (",", ";", "\t", "|")
_PROBE_ROWS = 50
_PROBE_CHARS = 2**16
_NUMBER = re.compile(r"[-+(]?[$€£¥]?\s?\d[\d.,' ]*[%)]?")
_YEAR = re.compile(r"(1[5-9]|2[01])\d\d")

csv.field_size_limit(2**31 - 1)  # the file's size is limited before; the default of 128 KiB would refuse long cells


def read_delimited(data: bytes) -> Extract:
    """Read delimited text. No cell is lost: odd rows keep their surplus cells, lines above the header stay lines."""
    text, encoding = decode(data)
    text = text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
    delimiter = find_delimiter(text)
    rows = [[" ".join(cell.split()) for cell in row] for row in csv.reader(io.StringIO(text), delimiter=delimiter)]
    rows = [row for row in rows if any(row)]
    return Extract(
        ("\n".join(_sentences(rows)),),
        metadata=(("encoding", encoding), ("delimiter", "tab" if delimiter == "\t" else delimiter)),
    )


def find_delimiter(text: str) -> str:
    """The delimiter that cuts the first rows most evenly into more than one cell; a comma when none does."""

    def evenness(delimiter: str) -> tuple[float, int]:
        probe = csv.reader(io.StringIO(text[:_PROBE_CHARS]), delimiter=delimiter)
        widths = [len(row) for row in islice(probe, _PROBE_ROWS) if row]
        width, count = Counter(widths).most_common(1)[0] if widths else (1, 1)
        return (count / len(widths), width) if width > 1 else (0.0, 0)

    return max(_DELIMITERS, key=evenness)


def _sentences(rows: Sequence[Sequence[str]]) -> list[str]:
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    above = 0
    while width > 1 and above < len(rows) - 1 and sum(map(bool, rows[above])) == 1:
        above += 1
    preamble = ["; ".join(filter(None, row)) for row in rows[:above]]
    table = rows[above:]
    if len(table) < 2 or not _is_header(table[0], table[1]):
        return preamble + ["; ".join(filter(None, row)) for row in table]
    header = table[0]
    columns = "Columns: " + "; ".join(filter(None, header))
    return [*preamble, columns, *(_row_sentence(header, row) for row in table[1:])]


def _row_sentence(header: Sequence[str], row: Sequence[str]) -> str:
    names = [*header[: len(row)], *[""] * (len(row) - len(header))]
    cells = enumerate(zip(names, row, strict=True), 1)
    return "; ".join(f"{name or f'Column {number}'}: {cell}" for number, (name, cell) in cells if cell)


def _is_header(first: Sequence[str], second: Sequence[str]) -> bool:
    """Names are distinct words; a row that is mostly numbers is data, unless they are years above other values."""
    cells = [cell for cell in first if cell]
    numbers = sum(
        bool(_NUMBER.fullmatch(cell)) and not (_YEAR.fullmatch(cell) and not _YEAR.fullmatch(below))
        for cell, below in zip(first, [*second, *[""] * len(first)], strict=False)
    )
    return len(set(cells)) == len(cells) and numbers * 2 < len(cells)
