"""Reading the truth: documents, chunks, vectors, the ledger, and what changed since a sequence number."""

import functools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.access import FULL, Access, Rules
from indexer.document import INSIDE, Chunk, Document
from indexer.encoder import Vectors
from indexer.filter import Filter
from indexer.store.changes import read_language
from indexer.store.connections import IN_LIMIT, Connections, in_parts
from indexer.store.keys import KeyRanges, Keys
from indexer.store.language import Language
from indexer.store.matching import matching_keys
from indexer.store.operations import changes, sequence
from indexer.store.records import FILE_COLUMNS, Changes, DocumentInfo, FileRow, Manifest, StoredChunk
from indexer.store.rules import hides_any, read_rules, readable, readable_file
from indexer.store.sources import sources_of
from indexer.store.vectors import read_vectors, vectors_of

_ROWS = 2048  # rows fetched at a time when a whole table is read
_PAGE = 16384  # vectors of one page: 38 MB at 576 dimensions


class Truth(Connections):
    """One generation's SQLite file, and all that is read from it. Safe to share between threads."""

    # --- what it was built with, and how far it is

    def manifest(self) -> Manifest | None:
        """Return what the generation was built with; None before the first document."""
        with self.borrowed() as db:
            row = db.execute("SELECT value FROM meta WHERE name = 'manifest'").fetchone()
        return _manifest(row[0]) if row else None

    def sequence(self) -> int:
        """Return the number of the newest operation; it only ever rises."""
        with self.borrowed() as db:  # one statement is an instant by itself, and every search asks this thrice
            return sequence(db)

    def language(self) -> Language:
        """Return the language whose words the index counts."""
        with self.borrowed() as db:
            return read_language(db)

    def changed_at(self) -> str:
        """Return when the newest operation was, as ISO 8601 in UTC; empty before the first."""
        with self.reading() as db:
            row = db.execute("SELECT at FROM operations ORDER BY seq DESC LIMIT 1").fetchone()
        return str(row[0]) if row else ""

    def changes(self, since: int) -> Changes:
        """Return the operations after `since`."""
        with self.reading() as db:
            return changes(db, since)

    def count(self, access: Access = FULL) -> int:
        """Return the number of chunks."""
        where, values = readable(access)
        of = "" if access.is_full else f" WHERE document_id IN (SELECT id FROM documents d WHERE {where})"
        with self.reading() as db:
            return int(db.execute(f"SELECT count(*) FROM chunks{of}", values).fetchone()[0])

    def rules(self) -> Rules:
        """Return what the collection asks of its callers."""
        with self.reading() as db:
            return read_rules(db)

    def last_key(self) -> int:
        """Return the highest key of a chunk; 0 when there is none."""
        with self.reading() as db:
            return int(db.execute("SELECT ifnull(max(key), 0) FROM chunks").fetchone()[0])

    # --- documents

    def documents(self, access: Access = FULL) -> list[DocumentInfo]:
        """List the documents by source."""
        where, values = readable(access)
        with self.reading() as db:
            rows = db.execute(
                "SELECT id, source, title, media_type, bytes, (SELECT count(*) FROM chunks WHERE document_id = d.id),"
                " json_array_length(pages), added_at, (SELECT json_group_array(path) FROM files"
                f" WHERE document_id = d.id AND path != d.source) FROM documents d WHERE {where} ORDER BY source",
                values,
            ).fetchall()
        return [DocumentInfo(*(*row[:-1], (row[1], *sorted(json.loads(row[-1]))))) for row in rows]

    def document(self, document_id: str, access: Access = FULL) -> Document | None:
        """Return one document with its text, if the caller may read it."""
        where, values = readable(access)
        one = f"SELECT {_DOCUMENT} FROM documents d WHERE id = ? AND {where}"
        with self.reading() as db:
            row = db.execute(one, (document_id, *values)).fetchone()
        return _document(row) if row else None

    def all_documents(self) -> Iterator[Document]:
        """Yield every document with its text, by source."""
        for info in self.documents():
            if (document := self.document(info.id)) is not None:
                yield document

    def sources(self) -> list[tuple[str, str]]:
        """List (id, source) of every source of every document, by source."""
        with self.reading() as db:
            return db.execute(
                "SELECT id, source FROM documents UNION"
                " SELECT document_id, path FROM files WHERE document_id != '' ORDER BY 2"
            ).fetchall()

    def sources_of(self, document_id: str) -> list[str]:
        """List the sources of one document; none if it is not there."""
        with self.reading() as db:
            return sources_of(db, document_id)

    # --- chunks and vectors

    def chunks(self, keys: Sequence[int]) -> dict[int, StoredChunk]:
        """Return the chunks of those keys that exist now."""
        found: dict[int, StoredChunk] = {}
        # What fits one statement needs no transaction around it: every search asks this once.
        with self.borrowed() if len(keys) <= IN_LIMIT else self.reading() as db:
            for part, marks in in_parts(keys):
                rows = db.execute(
                    f"SELECT {_CHUNK}, source, title FROM chunks c JOIN documents d ON d.id = c.document_id"
                    f" WHERE c.key IN ({marks})",
                    part,
                )
                found.update((row[0], StoredChunk(_chunk(row), row[-2], row[-1])) for row in rows)
        return found

    def document_chunks(self, document_id: str) -> list[tuple[int, Chunk]]:
        """Return (key, chunk) of one document in reading order."""
        with self.reading() as db:
            rows = db.execute(f"SELECT {_CHUNK} FROM chunks c WHERE document_id = ? ORDER BY ordinal", (document_id,))
            return [(row[0], _chunk(row)) for row in rows]

    def existing(self, keys: Sequence[int]) -> set[int]:
        """Return those of the keys that exist now."""
        with self.reading() as db:
            return {
                row[0]
                for part, marks in in_parts(keys)
                for row in db.execute(f"SELECT key FROM chunks WHERE key IN ({marks})", part)
            }

    def matching(self, asked: Filter, access: Access = FULL) -> KeyRanges | None:
        """Return the keys of the chunks of every document that holds the filter and that the caller may read.

        None stands for all of them.
        """
        with self.reading() as db:
            return matching_keys(db, asked, access) if asked or hides_any(db, access) else None

    def texts(self, first: int = 0, last: int = 2**62) -> Iterator[tuple[int, str, tuple[str, ...], str]]:
        """Yield (key, title, heading_path, text) of the chunks with first <= key <= last, in order of key."""
        statement = (
            "SELECT key, title, heading_path, c.text FROM chunks c JOIN documents d ON d.id = c.document_id"
            " WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?"
        )
        while first <= last:  # page by page: no read transaction stays open while the caller works
            with self.reading() as db:
                rows = db.execute(statement, (first, last, _ROWS)).fetchall()
            if not rows:
                return
            for key, title, heading_path, text in rows:
                yield key, title, tuple(json.loads(heading_path)), text
            first = rows[-1][0] + 1

    def vectors(self) -> tuple[Keys, Vectors]:
        """Return the keys (n,) in order and their vectors (n, dim)."""
        manifest = self.manifest()
        with self.reading() as db:
            keys, _, vectors = read_vectors(db, manifest.dim if manifest else 0)
        return keys, vectors

    def vector_pages(self, dim: int, after_key: int = 0) -> Iterator[tuple[Keys, Keys, Vectors]]:
        """Yield what read_vectors() reads, some thousand chunks at a time, each page of the truth as it is then."""
        while True:
            with self.reading() as db:
                keys, vector_ids, vectors = read_vectors(db, dim, after_key, _PAGE)
            if not len(keys):
                return
            yield keys, vector_ids, vectors
            after_key = int(keys[-1])

    def cached_vectors(self, hashes: Iterable[bytes], dim: int) -> dict[bytes, Vectors]:
        """Return the vectors (dim,) of those texts that were encoded before."""
        with self.reading() as db:
            return vectors_of(db, hashes, dim)

    def encoded(self) -> npt.NDArray[np.bytes_]:
        """Return the hashes (n,) of all texts that have a vector, in order."""
        with self.reading() as db:
            hashes = [name for (name,) in db.execute("SELECT embed_hash FROM vectors")]
        return np.sort(np.array(hashes, "S16"))

    # --- the ledger

    def file(self, path: str) -> FileRow | None:
        """Return the ledger's line on one file."""
        with self.reading() as db:
            row = db.execute(f"SELECT {_FILE} FROM files WHERE path = ?", (path,)).fetchone()
        return FileRow(*row) if row else None

    def files_inside(self, path: str) -> list[FileRow]:
        """The ledger's lines on what an archive or mail holds, by path."""
        first, after = path + INSIDE, path + INSIDE[:-1] + chr(ord(INSIDE[-1]) + 1)
        with self.reading() as db:
            rows = db.execute(f"SELECT {_FILE} FROM files WHERE path >= ? AND path < ? ORDER BY path", (first, after))
            return [FileRow(*row) for row in rows]

    def files(self, state: str | None = None, access: Access = FULL) -> list[FileRow]:
        """List the ledger by path, all of it or one state."""
        where, values = readable_file(access)
        some = f"SELECT {_FILE} FROM files f WHERE (? IS NULL OR state = ?) AND {where} ORDER BY path"
        with self.reading() as db:
            rows = db.execute(some, (state, state, *values))
            return [FileRow(*row) for row in rows]

    def same_content(self, sha256: str) -> list[FileRow]:
        """List the ledger's lines on the indexed files of just these bytes, by path."""
        with self.reading() as db:
            rows = db.execute(
                f"SELECT {_FILE} FROM files f WHERE sha256 = ? AND state = 'indexed' AND EXISTS"
                " (SELECT 1 FROM documents d WHERE d.id = f.document_id AND d.sha256 = f.sha256) ORDER BY path",
                (sha256,),
            )
            return [FileRow(*row) for row in rows]


_DOCUMENT = "id, source, title, media_type, sha256, text, pages, metadata"
_CHUNK = "c.key, c.document_id, c.ordinal, c.text, c.start, c.end, c.heading_path, c.page"
_FILE = ", ".join(FILE_COLUMNS)


@functools.lru_cache(maxsize=16)
def _manifest(text: str) -> Manifest:
    return Manifest(**json.loads(text))


def _document(row: Sequence[Any]) -> Document:
    document_id, source, title, media_type, sha256, text, pages, metadata = row
    pairs = tuple((name, value) for name, value in json.loads(metadata))
    return Document(document_id, source, title, media_type, sha256, text, tuple(json.loads(pages)), pairs)


def _chunk(row: Sequence[Any]) -> Chunk:
    _, document_id, ordinal, text, start, end, headings, page = row[:8]
    heading_path = tuple(json.loads(headings)) if headings != "[]" else ()
    return Chunk(f"{document_id}:{ordinal}", document_id, text, start, end, heading_path, page)
