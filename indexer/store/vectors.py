"""The vectors of the truth: half precision in the file, single precision outside of it."""

import sqlite3
from collections.abc import Iterable, Sequence

import numpy as np

from indexer.encoder import Vectors
from indexer.store.connections import in_parts
from indexer.store.keys import Keys

_ROWS = 2048  # rows fetched at a time when a whole table is read


def read_vectors(db: sqlite3.Connection, dim: int, after_key: int = 0, limit: int = -1) -> tuple[Keys, Keys, Vectors]:
    """Read the keys (n,) above `after_key` in order, the ids of their vectors (n,), and the vectors (n, dim).

    Of more than `limit` the first ones are read, unless it is negative.
    """
    counted = "SELECT count(*) FROM (SELECT 1 FROM chunks WHERE key > ? LIMIT ?)"
    count = db.execute(counted, (after_key, limit)).fetchone()[0]
    numbers, vectors = np.empty((2, count), np.int64), np.empty((count, dim), np.float32)
    rows = db.execute(
        "SELECT key, v.id, vector FROM chunks c JOIN vectors v ON v.id = c.vector_id"
        " WHERE key > ? ORDER BY key LIMIT ?",
        (after_key, limit),
    )
    done = 0
    while batch := rows.fetchmany(_ROWS):
        part = slice(done, done + len(batch))
        numbers[:, part] = [[key for key, _, _ in batch], [vector_id for _, vector_id, _ in batch]]
        vectors[part] = unpack([blob for _, _, blob in batch], dim)
        done += len(batch)
    return numbers[0], numbers[1], vectors


def unpack(blobs: Sequence[bytes], dim: int) -> Vectors:
    """Turn stored half-precision vectors into rows (len(blobs), dim)."""
    return np.frombuffer(b"".join(blobs), np.float16).reshape(len(blobs), dim).astype(np.float32)


def vectors_of(db: sqlite3.Connection, hashes: Iterable[bytes], dim: int) -> dict[bytes, Vectors]:
    """Return the vectors (dim,) of those texts that were encoded before."""
    found: dict[bytes, Vectors] = {}
    for part, marks in in_parts(list(dict.fromkeys(hashes))):
        rows = db.execute(f"SELECT embed_hash, vector FROM vectors WHERE embed_hash IN ({marks})", part)
        found.update((name, unpack([blob], dim)[0]) for name, blob in rows)
    return found
