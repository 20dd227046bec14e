"""The ledger as a table: which files a filter shows, in which order, and the table as HTML."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from app.ui.details import duration
from app.ui.markup import escaped, line_html
from app.ui.panel import shown_path
from indexer.document import INSIDE
from indexer.formats import BY_SUFFIX
from indexer.store.records import FileRow

PAGE_ROWS = 200
_ORDER = {"failed": 0, "skipped": 1, "indexed": 2}
_UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the ledger is to be shown; what is empty does not matter."""

    words: str = ""  # in the path or the title
    state: str = ""
    type: str = ""


def type_of(path: str) -> str:
    """The format of a file by its ending, in words; the ending itself where it is not one that is read."""
    suffix = PurePath(path.rsplit(INSIDE, 1)[-1]).suffix.lower()
    return BY_SUFFIX[suffix].name if suffix in BY_SUFFIX else suffix or "no ending"


def chosen(rows: Iterable[FileRow], wanted: Wanted, titles: Mapping[str, str]) -> list[FileRow]:
    """The lines that are wanted: failed ones first, then skipped ones, each by path. `titles` are by document id."""
    words = wanted.words.casefold().split()
    found = [
        row
        for row in rows
        if wanted.state in ("", row.state)
        and wanted.type in ("", type_of(row.path))
        and all(word in f"{row.path} {titles.get(row.document_id, '')}".casefold() for word in words)
    ]
    return sorted(found, key=lambda row: (_ORDER.get(row.state, len(_ORDER)), row.path))


def size_told(size_bytes: int) -> str:
    """A size in the largest unit that leaves at least 1."""
    size, unit = float(size_bytes), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 or size >= 100 else f"{size:.1f} {_UNITS[unit]}"


def moment(at: str) -> str:
    """A time as it is stored, to the minute, for people."""
    return at[:16].replace("T", " ")


def table_html(rows: Sequence[FileRow], titles: Mapping[str, str]) -> str:
    """The lines as a table; what has a document can be opened."""
    heads = "".join(f'<th scope="col"{_right(name)}>{name}</th>' for name in _COLUMNS)
    body = "".join(_row_html(row, titles.get(row.document_id, "")) for row in rows)
    return (
        '<div class="fn-wide" tabindex="0" role="region" aria-label="Files">'
        f'<table class="fn-table"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    )


_COLUMNS = ("File", "State", "Type", "Size", "Chunks", "Took", "Updated (UTC)")


def _right(name: str) -> str:
    return ' class="fn-right"' if name in ("Size", "Chunks", "Took") else ""


def _row_html(row: FileRow, title: str) -> str:
    name = PurePath(row.path.rsplit(INSIDE, 1)[-1]).name
    shown = f"<bdi>{escaped(title or name)}</bdi>"
    if row.document_id:
        shown = f'<button type="button" class="fn-opener" data-fn-open="d.{escaped(row.document_id)}">{shown}</button>'
    stages = {"load": row.load_ms, "chunk": row.chunk_ms, "encode": row.encode_ms, "index": row.index_ms}
    took = sum(stages.values())
    told = ", ".join(f"{stage} {duration(spent / 1000)}" for stage, spent in stages.items() if spent)
    path = f'<span class="fn-path"><bdi>{escaped(shown_path(row.path))}</bdi></span>'
    return (
        f'<tr class="fn-{escaped(row.state)}"><td>{shown}{path}{_reason_html(row)}</td>'
        f'<td class="fn-state">{escaped(row.state)}</td><td>{escaped(type_of(row.path))}</td>'
        f'<td class="fn-right">{size_told(row.bytes)}</td><td class="fn-right">{row.chunks or ""}</td>'
        f'<td class="fn-right" title="{escaped(told)}">{duration(took / 1000) if took else ""}</td>'
        f'<td class="fn-when">{escaped(moment(row.updated_at))}</td></tr>'
    )


def _reason_html(row: FileRow) -> str:
    if not row.reason:
        return ""
    remedy = f" <span>{line_html(row.remedy)}</span>" if row.remedy else ""
    return f'<span class="fn-reason">{escaped(row.reason.rstrip("."))}.{remedy}</span>'
