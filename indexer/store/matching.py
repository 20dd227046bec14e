"""Which chunks a filter lets through: its conditions as SQL over the truth."""

import sqlite3
from collections.abc import Sequence
from itertools import groupby

from indexer.access import Access
from indexer.filter import Condition, Filter, Sign, media_types
from indexer.store.keys import KeyRanges, merge_ranges
from indexer.store.rules import Sql as _Sql
from indexer.store.rules import readable

_SOURCES = "SELECT d.source AS path UNION SELECT path FROM files WHERE document_id = d.id"
_META = "SELECT 1 FROM json_each(d.metadata) m WHERE fold(json_extract(m.value, '$[0]')) = ?"
_META_VALUE = "json_extract(m.value, '$[1]')"
_LITERAL = "instr('/' || path || '/', ?) > 0"  # a bracket in a name is no glob to whoever copied the name
_DAY = 10  # characters of YYYY-MM-DD


def matching_keys(db: sqlite3.Connection, asked: Filter, access: Access) -> KeyRanges:
    """Return the keys of the chunks of every document that holds the filter and that the caller may read."""
    where, values = _joined(" AND ", [_all(asked), readable(access)])
    rows = db.execute(
        "SELECT min(key), max(key) FROM chunks WHERE document_id IN"
        f" (SELECT id FROM documents d WHERE {where}) GROUP BY document_id",
        values,
    )
    return tuple(merge_ranges(rows.fetchall()))  # a document's chunks are written together: their keys are one range


def _all(asked: Filter) -> _Sql:
    """Alternatives on one field joined by OR, everything else by AND."""
    ordered = sorted(asked.conditions, key=lambda each: (each.sign == "=", each.field))
    parts: list[_Sql] = []
    for (alternatives, _), group in groupby(ordered, key=lambda each: (each.sign == "=", each.field)):
        parts.append(_joined(" OR " if alternatives else " AND ", [_one(each) for each in group]))
    return _joined(" AND ", parts)


def _joined(word: str, parts: Sequence[_Sql]) -> _Sql:
    return f"({word.join(sql for sql, _ in parts) or '1'})", [value for _, values in parts for value in values]


def _one(condition: Condition) -> _Sql:
    if condition.sign == "!=":
        sql, values = _equal(condition)
        return f"NOT {sql}", values
    return _equal(condition) if condition.sign == "=" else _compared(condition, condition.sign)


def _equal(condition: Condition) -> _Sql:
    field, value = condition.field, condition.value
    if field == "source":
        matched = _either("path GLOB ?", 4)
        return f"EXISTS (SELECT 1 FROM ({_SOURCES}) WHERE {matched} OR {_LITERAL})", _places(value)
    if field == "type":
        types = media_types(value)
        return f"({_either('lower(d.media_type) GLOB ?', len(types))})", list(types)
    if condition.is_date:
        return _compared(condition, "=")
    if field == "id":
        return "(d.id = ?)", [value]
    if field == "title":
        return "(fold(d.title) GLOB ?)", [value.casefold()]
    return f"EXISTS ({_META} AND fold({_META_VALUE}) GLOB ?)", [
        field.removeprefix("meta.").casefold(),
        value.casefold(),
    ]


def _compared(condition: Condition, sign: Sign) -> _Sql:
    """Dates are compared as far as the value says: date>2024 begins with 2025."""
    length = len(condition.value)
    if condition.field == "added":
        return f"(substr(d.added_at, 1, {length}) {sign} ?)", [condition.value]
    day = f"substr({_META_VALUE}, 1, {_DAY})"
    whole = f"{day} GLOB '[0-9][0-9][0-9][0-9]*' AND length({day}) >= {length}"
    return f"EXISTS ({_META} AND {whole} AND substr({day}, 1, {length}) {sign} ?)", ["date", condition.value]


def _places(value: str) -> list[str]:
    """A path or glob, whole or from any folder on; a folder stands for all that is in it. Last as it is written."""
    value = value.rstrip("/") or value
    return [value, f"{value}/*", f"*/{value}", f"*/{value}/*", f"/{value}/"]


def _either(sql: str, times: int) -> str:
    return " OR ".join([sql] * times)
