"""Who may read what, as the truth holds it: groups that a collection is granted to, and restricted paths.

A change takes a sequence number like any other, so every reader and every cache of any process sees it at once.
"""

import json
import sqlite3
from collections.abc import Iterable
from types import MappingProxyType

from indexer.access import Access, Rules
from indexer.document import INSIDE
from indexer.store.changes import mark

Sql = tuple[str, list[str]]  # a condition, and the values of its marks
NOBODY = ""  # the group of a restriction that lets nobody through: no caller can have it
_PREFIXES = ("/", INSIDE)  # between a path and what lies in it


def read_rules(db: sqlite3.Connection) -> Rules:
    """Return what the collection asks of its callers."""
    granted = frozenset(name for (name,) in db.execute("SELECT name FROM grants"))
    paths: dict[str, set[str]] = {}
    for path, name in db.execute("SELECT path, name FROM restrictions ORDER BY path"):
        paths.setdefault(path, set()).add(name)
    return Rules(granted, MappingProxyType({path: frozenset(names) for path, names in paths.items()}))


def write_rules(db: sqlite3.Connection, rules: Rules) -> None:
    """Let these be the rules, and no others."""
    db.execute("DELETE FROM grants")
    db.execute("DELETE FROM restrictions")
    db.executemany("INSERT INTO grants VALUES (?)", [(name,) for name in rules.granted])
    pairs = [(path, name) for path, names in rules.restrictions.items() for name in names]
    db.executemany("INSERT INTO restrictions VALUES (?, ?)", pairs)
    mark(db)


def restrict(db: sqlite3.Connection, path: str, names: Iterable[str]) -> None:
    """Leave what lies at or below a path to these groups; to everybody who may use the collection, if there are none.

    Restrictions on paths above and below it stay.
    """
    db.execute("DELETE FROM restrictions WHERE path = ?", (path,))
    db.executemany("INSERT INTO restrictions VALUES (?, ?)", [(path, name) for name in set(names)])
    mark(db)


def grant(db: sqlite3.Connection, names: Iterable[str]) -> None:
    """Let groups use the collection."""
    db.executemany("INSERT OR IGNORE INTO grants VALUES (?)", [(name,) for name in names])
    mark(db)


def revoke(db: sqlite3.Connection, names: Iterable[str]) -> None:
    """Let groups use the collection no more."""
    db.executemany("DELETE FROM grants WHERE name = ?", [(name,) for name in names])
    mark(db)


def restricting(rules: Rules, path: str) -> dict[str, frozenset[str]]:
    """The restrictions that hold for a path, by the path that each is on."""
    return {at: names for at, names in rules.restrictions.items() if _is_below(path, at)}


def carry_restrictions(db: sqlite3.Connection, old: str, new: str) -> None:
    """Let a file that moved be restricted as it was: where it lies now may be open."""
    rules = read_rules(db)
    before, after = restricting(rules, old), restricting(rules, new)
    lost = [names for at, names in before.items() if at not in after]
    if lost:
        kept = frozenset.intersection(*lost, *filter(None, [after.get(new)]))
        restrict(db, new, kept or {NOBODY})


def readable(access: Access) -> Sql:
    """The condition on documents d that a caller may read."""
    if access.groups is None:
        return "1", []
    return f"d.id NOT IN ({_HIDDEN})", [_values(access)]


def readable_file(access: Access) -> Sql:
    """The condition on lines f of the ledger that a caller may read; some are of files that brought no document."""
    if access.groups is None:
        return "1", []
    hidden = f"EXISTS (SELECT 1 FROM ({_CLOSED}) c WHERE {_below('f.path')})"
    return f"NOT {hidden} AND f.document_id NOT IN ({_HIDDEN})", [_values(access)] * 2


def hides_any(db: sqlite3.Connection, access: Access) -> bool:
    """Whether some restriction holds this caller back."""
    return access.groups is not None and db.execute(_CLOSED, (_values(access),)).fetchone() is not None


def _values(access: Access) -> str:
    return json.dumps(sorted((access.groups or frozenset()) - {NOBODY}))


def _is_below(path: str, at: str) -> bool:
    return path == at or any(path.startswith(at + prefix) for prefix in _PREFIXES)


def _below(path: str) -> str:
    """SQL for: the path is that of restriction c, or lies in it. As ranges, which an index can look up."""
    ranges = [
        f"({path} >= c.path || '{prefix}' AND {path} < c.path || '{prefix[:-1]}{chr(ord(prefix[-1]) + 1)}')"
        for prefix in _PREFIXES
    ]
    return f"({' OR '.join([f'{path} = c.path', *ranges])})"


_CLOSED = "SELECT path FROM restrictions GROUP BY path HAVING max(name IN (SELECT value FROM json_each(?))) = 0"
_HIDDEN = (
    f"WITH c AS MATERIALIZED ({_CLOSED})"
    f" SELECT s.id FROM c JOIN documents s ON {_below('s.source')}"
    f" UNION SELECT s.document_id FROM c JOIN files s ON {_below('s.path')}"
)
