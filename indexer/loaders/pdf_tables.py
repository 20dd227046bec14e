"""Tables of a PDF page, and columns of text that its writer put down row by row.

A heuristic over positions, without lines or colours: cells stand further apart than words do, and one below another.
A cell of several lines becomes several rows, and a table whose columns overlap stays lines of text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from indexer.loaders.markup import pipe_table
from indexer.loaders.pdf_layout import Line
from indexer.loaders.table import is_header

Extent = tuple[float, float]  # left, right
Cell = tuple[float, float, str]  # left, right, text
Grid = list[list[Cell | None]]  # rows of columns
_SAME_ROW = 0.5  # font sizes between the baselines of one row
_NEXT_ROW = 3.0  # font sizes between the baselines of two rows of a table
_MIN_ROWS = 3
_FILLED = 0.6  # share of the cells of a table that hold something
_PROSE_CHARS = 30  # cells longer than this, on average, are lines of columns of text
_PROSE_ROWS = 5
_MAX_HEADER_LINES = 12
_HEADER_HEIGHT = 6.0  # font sizes above the first row
_MAX_HEADER_ROWS = 3  # rows above a table that span its columns


def mark_tables(lines: Sequence[Line]) -> list[Line]:
    """Put a Markdown table in place of the lines of each table, and columns of text one after another."""
    rows = list(_rows(lines))
    marked: list[Line] = []
    at = 0
    while at < len(rows):
        end = _run_end(rows, at)
        if end - at >= _MIN_ROWS and (found := _best(rows[at:end])):
            above, grid = found
            marked += [line for row in rows[at : at + above] for line in row]
            marked += _written(grid, rows[at + above : end], marked)
        else:
            marked += [line for row in rows[at:end] for line in row]
        at = end
    return marked


def _rows(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Neighbours on one baseline."""
    row: list[Line] = []
    for line in lines:
        if row and (line.block or row[0].block or not _beside(row[-1], line)):
            yield row
            row = []
        row.append(line)
    if row:
        yield row


def _beside(line: Line, other: Line) -> bool:
    return line.angle == other.angle and abs(line.y - other.y) < _SAME_ROW * max(line.size, other.size)


def _run_end(rows: Sequence[Sequence[Line]], at: int) -> int:
    """Where rows of several cells, close below each other, end that begin at `at`; at least one row on."""
    end = at + 1
    while end < len(rows) and len(_cells(rows[at])) > 1 and len(_cells(rows[end])) > 1:
        above, below = rows[end - 1][0], rows[end][0]
        if above.angle != below.angle or not 0 < above.y - below.y < _NEXT_ROW * max(above.size, below.size):
            break
        end += 1
    return end


def _cells(row: Sequence[Line]) -> list[Cell]:
    if row[0].block:
        return []
    return sorted(cell for line in row for cell in (line.cells or ((line.left, line.right, line.text),)))


def _best(rows: Sequence[Sequence[Line]]) -> tuple[int, Grid] | None:
    """The grid that rows make, and how many rows above do not belong to it."""
    for above in range(min(_MAX_HEADER_ROWS, len(rows) - _MIN_ROWS) + 1):
        if grid := _grid([_cells(row) for row in rows[above:]]):
            return above, grid
    return None


def _written(grid: Grid, rows: Sequence[Sequence[Line]], before: list[Line]) -> list[Line]:
    """What a grid reads like: columns of text, a table, or else its lines as they are.

    The header of a table that stands above it in lines of its own is taken from the end of `before`.
    """
    texts = [cell[2] for row in grid for cell in row if cell]
    if sum(map(len, texts)) > _PROSE_CHARS * len(texts):
        both = len(grid[0]) == 2 and len(grid) >= _PROSE_ROWS
        return list(_columns(grid, rows)) if both else [line for row in rows for line in row]
    table = [[cell[2] if cell else "" for cell in row] for row in grid]
    if not is_header(table[0], table[1]):
        header = _header(_extents(grid), rows[0][0], before)
        if header is None:
            return [line for row in rows for line in row]
        table.insert(0, header)
    return [replace(rows[-1][0], text=pipe_table(table), cells=(), block=True)]


def _header(columns: Sequence[Extent], first: Line, before: list[Line]) -> list[str] | None:
    """Names of the columns from the lines just above a table, top to bottom; these are taken off `before`."""
    pieces: list[tuple[float, int, str]] = []
    taken = 0
    for line in reversed(before[-_MAX_HEADER_LINES:]):
        near = not line.block and 0 < line.y - first.y < _HEADER_HEIGHT * first.size
        cells = line.cells or ((line.left, line.right, line.text),)
        under = [[at for at, (left, right) in enumerate(columns) if c[0] < right and c[1] > left] for c in cells]
        if not near or any(len(found) != 1 for found in under):
            break
        pieces += [(-line.y, found[0], cell[2]) for found, cell in zip(under, cells, strict=True)]
        taken += 1
    names = [" ".join(text for _, at, text in sorted(pieces) if at == column) for column in range(len(columns))]
    if sum(map(bool, names)) < _FILLED * len(columns):
        return None
    del before[len(before) - taken :]
    return names


def _extents(grid: Grid) -> list[Extent]:
    columns = zip(*grid, strict=True)
    return [(min(cell[0] for cell in column if cell), max(cell[1] for cell in column if cell)) for column in columns]


def _grid(rows: Sequence[Sequence[Cell]]) -> Grid | None:
    """Cells by column, or None when they stand in no columns."""
    columns: list[Extent] = []
    for left, right, _ in sorted(cell for row in rows for cell in row):
        if columns and left < columns[-1][1]:
            columns[-1] = columns[-1][0], max(columns[-1][1], right)
        else:
            columns.append((left, right))
    grid: Grid = []
    for row in rows:
        placed: list[Cell | None] = [None] * len(columns)
        for cell in row:
            column = next(at for at, (left, right) in enumerate(columns) if left <= cell[0] <= right)
            if placed[column] is not None:
                return None
            placed[column] = cell
        grid.append(placed)
    filled = sum(cell is not None for row in grid for cell in row)
    return grid if len(columns) > 1 and filled >= _FILLED * len(grid) * len(columns) else None


def _columns(grid: Grid, rows: Sequence[Sequence[Line]]) -> Iterator[Line]:
    for column in range(len(grid[0])):
        for cells, row in zip(grid, rows, strict=True):
            if cell := cells[column]:
                yield replace(row[0], left=cell[0], right=cell[1], text=cell[2], cells=())
