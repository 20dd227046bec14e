"""Chunks of the truth with everything that an index wants of them, in order of key."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from indexer.encoder import Vectors
from indexer.store.keys import KeyRanges, Keys, Mask
from indexer.store.text import embed_text
from indexer.store.truth import Truth
from indexer.store.vectors import unpack

CROWD = 16  # so many equal vectors leave a graph as it is


@dataclass(frozen=True, slots=True)
class Rows:
    """Some chunks."""

    keys: Keys  # (n,), rising
    texts: tuple[str, ...]  # with title and headings
    vectors: Vectors  # (n, dim)
    crowded: Mask  # (n,) whether CROWD chunks before it have the same vector


def row_pages(truth: Truth, dim: int, first: int, last: int, rows: int) -> Iterator[Rows]:
    """Yield the chunks with first <= key <= last, `rows` at a time, each page of the truth as it is then."""
    statement = (
        "SELECT key, title, heading_path, c.text, vector, (SELECT count(*) FROM (SELECT 1 FROM chunks e"
        f" WHERE e.vector_id = c.vector_id AND e.key < c.key LIMIT {CROWD}))"
        " FROM chunks c JOIN documents d ON d.id = c.document_id"
        " JOIN vectors v ON v.id = c.vector_id WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?"
    )
    while first <= last:
        with truth.reading() as db:
            page = db.execute(statement, (first, last, rows)).fetchall()
        if not page:
            return
        keys = np.array([row[0] for row in page], np.int64)
        texts = tuple(embed_text(title, json.loads(path), text) for _, title, path, text, *_ in page)
        crowded = np.array([row[5] == CROWD for row in page])
        yield Rows(keys, texts, unpack([row[4] for row in page], dim), crowded)
        first = int(keys[-1]) + 1


def count_above(truth: Truth, key: int) -> int:
    """Count the chunks of higher keys."""
    with truth.reading() as db:
        return int(db.execute("SELECT count(*) FROM chunks WHERE key > ?", (key,)).fetchone()[0])


def vectors_inside(truth: Truth, dim: int, ranges: KeyRanges) -> tuple[Keys, Vectors]:
    """Return the keys (n,) in these ranges that exist now, rising, and their vectors (n, dim)."""
    statement = (
        "SELECT key, vector FROM chunks c JOIN vectors v ON v.id = c.vector_id WHERE key BETWEEN ? AND ? ORDER BY key"
    )
    with truth.reading() as db:
        found = [row for first, last in sorted(ranges) for row in db.execute(statement, (first, last))]
    return np.array([key for key, _ in found], np.int64), unpack([blob for _, blob in found], dim)
