"""The SQLite file of one generation: tables, migrations, connections, and what its errors mean."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from indexer.errors import IndexError_
from indexer.store.disk import FULL_DISK_REMEDY

BUSY_TIMEOUT_S = 30.0

# A migration is never changed once released; a new one is added below it.
# Keys and sequence numbers are AUTOINCREMENT: a key that was deleted can never come to mean another chunk.
_MIGRATIONS = (
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE documents (
        id TEXT PRIMARY KEY, source TEXT NOT NULL UNIQUE, title TEXT NOT NULL, media_type TEXT NOT NULL,
        sha256 TEXT NOT NULL, text TEXT NOT NULL, pages TEXT NOT NULL, metadata TEXT NOT NULL,
        bytes INTEGER NOT NULL, added_at TEXT NOT NULL);
    CREATE TABLE vectors (
        id INTEGER PRIMARY KEY AUTOINCREMENT, embed_hash BLOB NOT NULL UNIQUE, vector BLOB NOT NULL);
    CREATE TABLE chunks (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        document_id TEXT NOT NULL REFERENCES documents(id) ON DELETE CASCADE,
        vector_id INTEGER NOT NULL REFERENCES vectors(id),
        ordinal INTEGER NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, page INTEGER,
        heading_path TEXT NOT NULL, text TEXT NOT NULL, UNIQUE (document_id, ordinal));
    CREATE INDEX chunks_vector ON chunks(vector_id);
    CREATE TABLE files (
        path TEXT PRIMARY KEY, state TEXT NOT NULL, reason TEXT NOT NULL, remedy TEXT NOT NULL, sha256 TEXT NOT NULL,
        bytes INTEGER NOT NULL, document_id TEXT NOT NULL, chunks INTEGER NOT NULL, cleaner TEXT NOT NULL,
        updated_at TEXT NOT NULL, load_ms REAL NOT NULL, chunk_ms REAL NOT NULL, encode_ms REAL NOT NULL);
    CREATE INDEX files_document ON files(document_id);
    CREATE TABLE operations (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL CHECK (kind IN ('add', 'delete')),
        document_id TEXT NOT NULL, first_key INTEGER NOT NULL, last_key INTEGER NOT NULL, at TEXT NOT NULL);
    """,
    """
    ALTER TABLE files ADD COLUMN change TEXT NOT NULL DEFAULT '';
    ALTER TABLE files ADD COLUMN index_ms REAL NOT NULL DEFAULT 0;
    CREATE INDEX files_sha256 ON files(sha256);
    """,
    """
    CREATE TABLE grants (name TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE restrictions (path TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (path, name)) WITHOUT ROWID;
    """,
)


def connect(path: Path, create: bool = False) -> sqlite3.Connection:
    """Open the truth, bring its schema up to date, and set what every connection must have.

    A kill loses nothing that was committed under any `synchronous`; FULL makes that hold for power loss too, and costs
    one fsync a file, which is nothing beside encoding it. `secure_delete` overwrites deleted text in the file.

    Raises:
        IndexError_: the file is missing, damaged, of a newer Footnote, or cannot be opened.
    """
    with translated(path):
        if not create and not path.is_file():
            raise IndexError_(f"{path} is missing", "Ingest the documents again into a new collection.")
        db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            db.create_function("fold", 1, _fold, deterministic=True)  # SQLite's own lower() knows ASCII alone
            db.execute("PRAGMA foreign_keys=ON")
            db.execute("PRAGMA secure_delete=ON")
            db.execute("PRAGMA synchronous=FULL")
            if create:
                db.execute("PRAGMA journal_mode=WAL")
            elif _version(db) == 0:
                raise sqlite3.DatabaseError("it is empty")
            _migrate(db, path)
        except BaseException:
            db.close()
            raise
        return db


def _fold(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    if _version(db) == len(_MIGRATIONS):
        return
    db.execute("BEGIN IMMEDIATE")
    version = _version(db)  # again: another process may have migrated while this one waited
    if version > len(_MIGRATIONS):
        db.execute("ROLLBACK")
        raise IndexError_(f"{path} was written by a newer Footnote (schema {version})", "Upgrade Footnote.")
    with transaction_end(db):
        for script in _MIGRATIONS[version:]:
            for statement in script.split(";"):
                db.execute(statement)
        db.execute(f"PRAGMA user_version={len(_MIGRATIONS)}")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


@contextlib.contextmanager
def transaction_end(db: sqlite3.Connection) -> Iterator[None]:
    """Commit the transaction that is open, or roll it back when the block raises."""
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ones that say what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise explained(error, path) from error


def explained(error: sqlite3.DatabaseError, path: Path) -> IndexError_:
    """What an error of SQLite means, and what to do."""
    text = str(error)
    if "full" in text:
        return IndexError_(f"No space left to write {path}", FULL_DISK_REMEDY)
    if "disk I/O" in text:
        return IndexError_(f"The disk refused to read or write {path}", FULL_DISK_REMEDY)
    if "locked" in text or "busy" in text:
        return IndexError_(
            f"{path} stayed locked for {BUSY_TIMEOUT_S:.0f} s", "Wait for the other program, then retry."
        )
    if "readonly" in text or "unable to open" in text:
        return IndexError_(f"Cannot open {path} for writing: {text}", "Check the folder's permissions.")
    if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
        return IndexError_(f"{path} refused a change: {text}", "Run `footnote verify` and report what it prints.")
    return IndexError_(
        f"{path} is damaged: {text}",
        f"Restore it from a backup, or remove {path.parents[2]} and ingest the documents again.",
    )
