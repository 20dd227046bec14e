"""The audit log: who did what to documents, keys and access, when, and what came of it. No words of any document."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.database import Database
from indexer.errors import FootnoteError
from indexer.store.changes import now

MAX_CHARS = 2_000  # of what is said of one action


@dataclass(frozen=True, slots=True)
class Entry:
    """One action."""

    number: int
    at: str  # ISO 8601, UTC
    who: str  # id of a key or person, or "local NAME" for a command on this machine
    action: str  # such as ingest, delete, key create, access grant
    collection: str
    what: str
    outcome: str  # done, or the kind of the error


class Audit:
    """The log of one home, which only grows. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, who: str, action: str, collection: str, what: str, outcome: str = "done") -> None:
        """Add an entry. Raises IndexError_ where the store cannot be written."""
        what = what.encode("utf-8", "backslashreplace").decode()  # a file name need not be UTF-8
        with self._database.connected() as db:
            db.execute(
                "INSERT INTO audit (at, who, action, collection, what, outcome) VALUES (?, ?, ?, ?, ?, ?)",
                (now(), who, action, collection, what[:MAX_CHARS], outcome),
            )

    @contextmanager
    def recorded(self, who: str, action: str, collection: str, what: str) -> Iterator[None]:
        """Add an entry when the block ends, whatever comes of it."""
        try:
            yield
        except FootnoteError as error:
            self.record(who, action, collection, what, error.kind)
            raise
        except BaseException as error:
            self.record(who, action, collection, what, type(error).__name__.strip("_"))
            raise
        self.record(who, action, collection, what)

    def last(self, limit: int) -> list[Entry]:
        """The newest entries, newest first. Raises IndexError_ where the store cannot be read."""
        with self._database.connected() as db:
            rows = db.execute("SELECT * FROM audit ORDER BY number DESC LIMIT ?", (limit,)).fetchall()
        return [Entry(*row) for row in rows]


def local_user() -> str:
    """Who runs a command on this machine."""
    try:
        return f"local {getpass.getuser()}"
    except (OSError, KeyError):  # a process whose user has no name
        return "local"
