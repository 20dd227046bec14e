"""What the doors themselves keep, in one SQLite file under the home: keys, waiting uploads, conversations, feedback,
the figures of experiments, and the audit log."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from indexer.errors import ConfigError, IndexError_
from indexer.store.disk import disk_error

_BUSY_S = 10.0
# A migration is never changed once released; a new one is added below it.
_MIGRATIONS = (
    """
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
        answer_id TEXT NOT NULL, thumb TEXT NOT NULL, reason TEXT NOT NULL, correction TEXT NOT NULL,
        served TEXT NOT NULL
    ) STRICT;
    CREATE TRIGGER feedback_stays BEFORE UPDATE ON feedback BEGIN SELECT RAISE(ABORT, 'feedback is append only'); END;
    CREATE TRIGGER feedback_is_kept BEFORE DELETE ON feedback
    BEGIN SELECT RAISE(ABORT, 'feedback is append only'); END;
    """,
    """
    CREATE TABLE conversation (
        id TEXT PRIMARY KEY, collection TEXT NOT NULL, title TEXT NOT NULL, created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    ) STRICT;
    CREATE TABLE turn (
        id TEXT PRIMARY KEY, conversation TEXT NOT NULL REFERENCES conversation(id) ON DELETE CASCADE,
        number INTEGER NOT NULL, replaced INTEGER NOT NULL DEFAULT 0, question TEXT NOT NULL, asked_at TEXT NOT NULL,
        record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX turn_conversation ON turn(conversation, number);
    CREATE INDEX feedback_answer ON feedback(answer_id);
    DROP TRIGGER feedback_is_kept;
    CREATE TRIGGER feedback_is_kept BEFORE DELETE ON feedback
    WHEN NOT EXISTS (SELECT 1 FROM turn WHERE turn.id = OLD.answer_id)
    BEGIN SELECT RAISE(ABORT, 'feedback is append only, and goes only with its conversation'); END;
    """,
    """
    CREATE TABLE exposure (
        answer_id TEXT PRIMARY KEY, at TEXT NOT NULL, experiment TEXT NOT NULL, arm TEXT NOT NULL, unit TEXT NOT NULL,
        definition TEXT NOT NULL, abstained INTEGER NOT NULL, total_ms REAL NOT NULL
    ) STRICT;
    CREATE INDEX exposure_experiment ON exposure(experiment);
    ALTER TABLE key ADD COLUMN groups TEXT NOT NULL DEFAULT '[]';
    ALTER TABLE ingest ADD COLUMN groups TEXT NOT NULL DEFAULT '[]';
    ALTER TABLE conversation ADD COLUMN owner TEXT NOT NULL DEFAULT '';
    CREATE INDEX conversation_owner ON conversation(owner, updated_at);
    CREATE TABLE audit (
        number INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL,
        collection TEXT NOT NULL, what TEXT NOT NULL, outcome TEXT NOT NULL
    ) STRICT;
    CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
    CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
    """,
    # Which documents a judged answer was asked of, as JSON; of older thumbs of the API nobody knows it (NULL).
    """
    ALTER TABLE feedback ADD COLUMN filters TEXT;
    DROP TRIGGER feedback_stays;
    UPDATE feedback SET filters =
        (SELECT coalesce(json_extract(record, '$.filters'), '[]') FROM turn WHERE turn.id = feedback.answer_id);
    CREATE TRIGGER feedback_stays BEFORE UPDATE ON feedback BEGIN SELECT RAISE(ABORT, 'feedback is append only'); END;
    """,
)


class Database:
    """Safe to share between threads and processes: every use has a connection and a transaction of its own."""

    def __init__(self, home: Path) -> None:
        """Open HOME/server.db, made if need be, and bring its tables up to date.

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
            if layout > len(_MIGRATIONS):
                raise ConfigError(f"{self.path} was made by a newer Footnote.", "Use that version, or another home.")
            for script in _MIGRATIONS[layout:]:
                for statement in _statements(script):
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are committed at the end, all or none. Deleted words are overwritten in the file.

        Raises:
            IndexError_: the file cannot be read or written.
        """
        try:
            with closing(sqlite3.connect(self.path, timeout=_BUSY_S)) as db:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA foreign_keys = ON")
                db.execute("PRAGMA secure_delete = ON")
                with db:
                    yield db
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            raise IndexError_(
                f"{self.path} cannot be read or written: {error}",
                "Look at the disk's free space and the file's permissions; if it is damaged, move it away.",
            ) from error

    def empty_log(self) -> None:
        """Empty the write-ahead log, in which words that were deleted still stand.

        Raises:
            IndexError_: somebody kept reading it.
        """
        with self.connected() as db:
            busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise IndexError_(
                f"{self.path} is being read, so its log still holds what was deleted.",
                "Delete something again later, or end the servers: the last one to close empties it.",
            )


def _statements(script: str) -> Iterator[str]:
    """The script's statements one by one: executescript would commit before its first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
