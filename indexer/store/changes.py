"""Changing the truth: each function runs inside a write transaction that the caller opened."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple
from datetime import UTC, datetime
from typing import cast

import numpy as np

from indexer.document import Chunk, Document
from indexer.encoder import Vectors
from indexer.errors import IndexError_
from indexer.store.language import LANGUAGES, Language
from indexer.store.records import FILE_COLUMNS, FileRow, Manifest
from indexer.store.text import embed_hash, embed_text

UNIT_TOLERANCE = 0.01


def now() -> str:
    """Return this second as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_manifest(db: sqlite3.Connection, manifest: Manifest) -> None:
    """Fix what the generation is built with."""
    db.execute("INSERT OR REPLACE INTO meta VALUES ('manifest', ?)", (json.dumps(asdict(manifest)),))


def read_language(db: sqlite3.Connection) -> Language:
    """Return the language whose words the index counts; English where none was ever named."""
    row = db.execute("SELECT value FROM meta WHERE name = 'language'").fetchone()
    return cast(Language, row[0]) if row and row[0] in LANGUAGES else "english"


def write_language(db: sqlite3.Connection, language: Language) -> None:
    """Let the index of words be one of this language; readers and writers notice by the number that this takes."""
    db.execute("INSERT OR REPLACE INTO meta VALUES ('language', ?)", (language,))
    mark(db)


def add_document(
    db: sqlite3.Connection,
    document: Document,
    chunks: Sequence[Chunk],
    vectors: Vectors,
    size_bytes: int,
    added_at: str,
) -> None:
    """Insert a document with its chunks and their vectors (len(chunks), dim), in place of an older version of it.

    Raises:
        IndexError_: a chunk is not a slice of the document, or a vector is not of unit length.
    """
    _check(document, chunks, vectors)
    same = "SELECT id FROM documents WHERE id = ? OR source = ?"
    released = [
        vector for (old,) in db.execute(same, (document.id, document.source)).fetchall() for vector in _remove(db, old)
    ]
    named = (document.id, document.source, document.title, document.media_type, document.sha256, document.text)
    pages, metadata = json.dumps(document.pages), json.dumps(document.metadata)
    db.execute(
        "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*named, pages, metadata, size_bytes, added_at)
    )
    for ordinal, (chunk, vector) in enumerate(zip(chunks, vectors, strict=True)):
        _insert_chunk(db, document, ordinal, chunk, vector)
    _log(db, "add", document.id)
    _drop_unused(db, released)


def delete_document(db: sqlite3.Connection, document_id: str) -> bool:
    """Remove a document, its chunks, their own vectors and its line in the ledger; False if it is not there."""
    if db.execute("SELECT 1 FROM documents WHERE id = ?", (document_id,)).fetchone() is None:
        return False
    _drop_unused(db, _remove(db, document_id))
    db.execute("DELETE FROM files WHERE document_id = ?", (document_id,))
    return True


def record_file(db: sqlite3.Connection, row: FileRow) -> None:
    """Write the ledger's line on one file."""
    marks = ", ".join("?" * len(FILE_COLUMNS))
    db.execute(f"INSERT OR REPLACE INTO files ({', '.join(FILE_COLUMNS)}) VALUES ({marks})", astuple(row))


def raise_numbers(db: sqlite3.Connection, last: Mapping[str, int]) -> None:
    """Let the next key and sequence number come after `last` (by table), and after every one of this file."""
    for table, number in last.items():
        row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        if row is None:
            db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, number))
        else:
            db.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (max(number, row[0]), table))


def mark(db: sqlite3.Connection) -> None:
    """Take a sequence number without changing a document."""
    db.execute(
        "INSERT INTO operations (kind, document_id, first_key, last_key, at) VALUES ('add', '', 1, 0, ?)", (now(),)
    )


def _remove(db: sqlite3.Connection, document_id: str) -> list[int]:
    """Remove a document and its chunks; return the ids of their vectors, which other chunks may still use."""
    vectors = db.execute("SELECT DISTINCT vector_id FROM chunks WHERE document_id = ?", (document_id,)).fetchall()
    _log(db, "delete", document_id)
    db.execute("DELETE FROM documents WHERE id = ?", (document_id,))
    return [vector for (vector,) in vectors]


def _drop_unused(db: sqlite3.Connection, vector_ids: Sequence[int]) -> None:
    db.executemany(
        "DELETE FROM vectors WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM chunks WHERE vector_id = ?1)",
        [(vector,) for vector in vector_ids],
    )


def _insert_chunk(db: sqlite3.Connection, document: Document, ordinal: int, chunk: Chunk, vector: Vectors) -> None:
    name = embed_hash(embed_text(document.title, chunk.heading_path, chunk.text))
    row = db.execute("SELECT id FROM vectors WHERE embed_hash = ?", (name,)).fetchone()
    if row is None:
        blob = np.asarray(vector, np.float16).tobytes()
        row = db.execute("INSERT INTO vectors (embed_hash, vector) VALUES (?, ?) RETURNING id", (name, blob)).fetchone()
    db.execute(
        "INSERT INTO chunks (document_id, vector_id, ordinal, start, end, page, heading_path, text)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (document.id, row[0], ordinal, chunk.start, chunk.end, chunk.page, json.dumps(chunk.heading_path), chunk.text),
    )


def _log(db: sqlite3.Connection, kind: str, document_id: str) -> None:
    # The keys of one document are one range: they were inserted in one transaction of the only writer.
    first, last = db.execute(
        "SELECT ifnull(min(key), 1), ifnull(max(key), 0) FROM chunks WHERE document_id = ?", (document_id,)
    ).fetchone()
    db.execute(
        "INSERT INTO operations (kind, document_id, first_key, last_key, at) VALUES (?, ?, ?, ?, ?)",
        (kind, document_id, first, last, now()),
    )


def _check(document: Document, chunks: Sequence[Chunk], vectors: Vectors) -> None:
    if len(vectors) != len(chunks):
        raise IndexError_(f"{document.source}: {len(chunks)} chunks but {len(vectors)} vectors", "Report this.")
    for chunk in chunks:
        if not chunk.text or document.text[chunk.start : chunk.end] != chunk.text:
            raise IndexError_(f"{document.source}: chunk {chunk.id} is not a slice of its document", "Report this.")
    norms = np.linalg.norm(vectors, axis=1) if len(chunks) else np.ones(0)
    if not np.all(np.abs(norms - 1) <= UNIT_TOLERANCE):  # NaN fails the comparison too
        raise IndexError_(
            f"{document.source}: the encoder gave a vector that is not of unit length", "Check the encoder."
        )
