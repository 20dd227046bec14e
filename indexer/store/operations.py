"""The log of what changed: every operation has a number, and the numbers only ever rise."""

import sqlite3

from indexer.store.records import Changes


def sequence(db: sqlite3.Connection) -> int:
    """Return the number of the newest operation."""
    return int(db.execute("SELECT ifnull(max(seq), 0) FROM operations").fetchone()[0])


def changes(db: sqlite3.Connection, since: int) -> Changes:
    """Return the operations after `since` as this transaction sees them."""
    rows = db.execute(
        "SELECT kind, first_key, last_key FROM operations WHERE seq > ? ORDER BY seq", (since,)
    ).fetchall()
    added = tuple((first, last) for kind, first, last in rows if kind == "add" and first <= last)
    deleted = tuple((first, last) for kind, first, last in rows if kind == "delete" and first <= last)
    return Changes(sequence(db), added, deleted)
