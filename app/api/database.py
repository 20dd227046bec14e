"""What the API itself keeps: keys, feedback and uploads that wait, in one SQLite file under the home."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from indexer.errors import ConfigError
from indexer.store.disk import disk_error

_LAYOUT = 1
_BUSY_S = 10.0
_SCHEMA = """
CREATE TABLE key (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, hash BLOB NOT NULL UNIQUE, scopes TEXT NOT NULL, collections TEXT,
    created_at TEXT NOT NULL, expires_at TEXT, revoked_at TEXT
) STRICT;
CREATE TABLE ingest (
    id TEXT PRIMARY KEY, collection TEXT NOT NULL, key_id TEXT NOT NULL, paths TEXT NOT NULL, state TEXT NOT NULL,
    report TEXT NOT NULL, created_at TEXT NOT NULL, ended_at TEXT
) STRICT;
CREATE TABLE feedback (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, key_id TEXT NOT NULL, collection TEXT NOT NULL,
    answer_id TEXT NOT NULL, thumb TEXT NOT NULL, reason TEXT NOT NULL, correction TEXT NOT NULL, served TEXT NOT NULL
) STRICT;
CREATE TRIGGER feedback_stays BEFORE UPDATE ON feedback BEGIN SELECT RAISE(ABORT, 'feedback is append only'); END;
CREATE TRIGGER feedback_is_kept BEFORE DELETE ON feedback BEGIN SELECT RAISE(ABORT, 'feedback is append only'); END;
"""


class Database:
    """Safe to share between threads and processes: every use has a connection and a transaction of its own."""

    def __init__(self, home: Path) -> None:
        """Open HOME/server.db, made if need be.

        Raises:
            ConfigError: it was made by a newer Footnote.
            IndexError_: it cannot be written.
        """
        self.path = home / "server.db"
        try:
            home.mkdir(parents=True, exist_ok=True)
            self.path.touch(mode=0o600)  # nobody else's business
        except OSError as error:
            raise disk_error(error, self.path) from error
        with self.connected() as db:
            db.execute("BEGIN IMMEDIATE")
            layout = db.execute("PRAGMA user_version").fetchone()[0]
            if layout == 0:
                for statement in _statements(_SCHEMA):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {_LAYOUT}")
        if layout > _LAYOUT:
            raise ConfigError(f"{self.path} was made by a newer Footnote.", "Use that version, or another home.")

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are committed at the end, all or none."""
        with closing(sqlite3.connect(self.path, timeout=_BUSY_S)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            with db:
                yield db


def _statements(script: str) -> Iterator[str]:
    """The script's statements one by one: executescript would commit before its first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
