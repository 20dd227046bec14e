"""Connections to the SQLite file of one generation, and the transactions on them."""

import contextlib
import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from indexer.errors import IndexError_
from indexer.store.schema import connect, explained, transaction_end

IN_LIMIT = 500  # values in one IN (...); SQLite's own limit was 999 for long
_Value = TypeVar("_Value")


class Connections:
    """Those of one file. Safe to share between threads: each call borrows a connection of its own."""

    def __init__(self, path: Path, create: bool = False) -> None:
        self.path = path
        self._idle = deque([connect(path, create)])  # whose ends threads may take from and put to without a lock

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Borrow a connection inside a read transaction: every statement sees the same instant."""
        with self.borrowed() as db:
            db.execute("BEGIN")
            with transaction_end(db):
                yield db

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Borrow a connection inside a write transaction, committed when the block ends and undone if it raises."""
        with self.borrowed() as db:
            db.execute("BEGIN IMMEDIATE")
            with transaction_end(db):
                yield db

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[sqlite3.Connection]:
        """Borrow a connection without a transaction: for one statement, which is an instant by itself."""
        try:
            db = self._idle.pop()
        except IndexError:
            db = connect(self.path)
        try:
            yield db
        except sqlite3.DatabaseError as error:
            raise explained(error, self.path) from error
        finally:
            self._idle.append(db)

    def close(self) -> None:
        """Close the idle connections; a later call opens new ones."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def checkpoint(self) -> None:
        """Move the write-ahead log into the file and empty it, so that deleted text does not linger there."""
        with self.borrowed() as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def compact(self) -> None:
        """Write the file anew without its free pages, and empty the write-ahead log.

        Raises:
            IndexError_: a reader kept the log in use, or there is no room for a copy.
        """
        with self.borrowed() as db:
            db.execute("VACUUM")
            (busy, *_) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise IndexError_(f"A reader keeps the log of {self.path} in use", "Let it finish, then run this again.")


def in_parts(values: Sequence[_Value]) -> Iterator[tuple[list[_Value], str]]:
    """Yield as many values as one IN (...) takes, and the marks that stand for them in it."""
    for at in range(0, len(values), IN_LIMIT):
        part = list(values[at : at + IN_LIMIT])
        yield part, ",".join("?" * len(part))
