"""CSV and TSV: one self-contained line a row, `Header: value; Header: value`."""

import csv
import io
from collections import Counter
from itertools import islice

from indexer.loaders.decode import decode
from indexer.loaders.extract import Extract
from indexer.loaders.table import table_sentences

_DELIMITERS = (",", ";", "\t", "|")
_PROBE_ROWS = 50
_PROBE_CHARS = 2**16

csv.field_size_limit(2**31 - 1)  # the file's size is limited before; the default of 128 KiB would refuse long cells


def read_delimited(data: bytes) -> Extract:
    """Read delimited text. No cell is lost: odd rows keep their surplus cells, lines above the header stay lines."""
    text, encoding = decode(data)
    text = text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
    delimiter = find_delimiter(text)
    rows = [[" ".join(cell.split()) for cell in row] for row in csv.reader(io.StringIO(text), delimiter=delimiter)]
    rows = [row for row in rows if any(row)]
    return Extract(
        ("\n".join(table_sentences(rows)),),
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
