"""Keeps a collection in Milvus in step with the truth.

What was applied is written beside the truth after Milvus has said so. A kill between the two is met by applying the
same again: rows have the chunk's key as primary key, and a row that may be there already is upserted.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from indexer.encoder import Vectors
from indexer.errors import IndexError_
from indexer.milvus.build import Build, analysis_of, choose, forget_note, new_build, notes, read_build, write_note
from indexer.milvus.connection import Connection, MissingCollection, Unreachable
from indexer.milvus.schema import as_text, create
from indexer.store.keys import merge_ranges
from indexer.store.records import Changes, Manifest
from indexer.store.rows import Rows, row_pages
from indexer.store.text import analyze
from indexer.store.truth import Truth

_log = logging.getLogger(__name__)
_BATCH_BYTES = 8 << 20  # of one message; servers take 64 MiB
_TEXT_BYTES = 2048  # about what a row has beside its vector
_MAX_ROWS = 1000
_DELETED = 4096  # keys in one message
_FLUSH_ROWS = 4096  # written since the last flush; more are worth one at the end
_FLUSH_S = 600.0  # Milvus Lite builds the graph in it
_LAST_KEY = 2**62

OnRows = Callable[[int], None]  # how many more were written


class MilvusWriter:
    """Applies the truth's operations to a build. Only the holder of the collection's write lock may have one."""

    def __init__(
        self,
        folder: Path,
        truth: Truth,
        connection: Connection,
        build: Build | None = None,
        on_rows: OnRows | None = None,
    ) -> None:
        self._folder, self._truth, self._connection = folder, truth, connection
        self._build, self._on_rows = build or read_build(folder), on_rows or (lambda _: None)
        self._certain = False  # whether Milvus holds exactly the operations up to the build's sequence
        self._warned = False
        self._unflushed = 0

    @property
    def build(self) -> Build | None:
        """The build as it is now."""
        return self._build

    def catch_up(self) -> int:
        """Apply what is new in the truth; returns the sequence number reached. Safe to repeat.

        While nobody answers, the operations wait in the truth, and a warning says so.
        """
        try:
            return self.follow()
        except Unreachable as error:
            if not self._warned:
                _log.warning("%s; what is written waits until it answers", error.message)
            self._warned = True
            return self._build.sequence if self._build else 0

    def follow(self) -> int:
        """As catch_up(), but raise when nobody answers.

        Raises:
            Unreachable: nobody answers.
            IndexError_: Milvus refuses, or the note on the build is damaged.
        """
        manifest = self._truth.manifest()
        build = self._build
        if build is None:
            raise IndexError_(
                f"{self._folder / 'index.json'} or the note that it names is damaged",
                "Run `footnote migrate --to` with the address of the Milvus again.",
            )
        if manifest is None or (build.dim == 0 and not self._truth.last_key()):
            return build.sequence
        if not build.fits(manifest, self._truth.sequence(), self._truth.language()):
            _log.warning("the collection %s in Milvus is of another truth or encoder; rebuilding it", build.name)
            return self.rebuild()
        try:
            self._advance(build, manifest)
        except MissingCollection as error:
            _log.warning("%s; rebuilding it", error.message)
            return self.rebuild()
        return self._reached()

    def rebuild(self) -> int:
        """Fill a new collection from the truth and let it take the place of the old one, which answers until then."""
        old, manifest = self._build, self._truth.manifest()
        assert old is not None
        self._build = new_build(self._folder, old.uri, old.index_type, old.vectors)
        if manifest is not None:
            self._advance(self._build, manifest)
        else:
            self._note(self._build)
        choose(self._folder, self._build)
        drop_others(self._folder, self._connection, self._build)
        return self._reached()

    def flush(self, force: bool = False) -> bool:
        """Let Milvus seal and index what it has taken in, where that is much."""
        if self._build is None or not self._unflushed or not (force or self._unflushed >= _FLUSH_ROWS):
            return False
        self._unflushed = 0
        try:
            self._connection.call("flush", self._build.name, timeout_s=_FLUSH_S)
        except IndexError_ as error:  # it goes on there, or comes by itself later
            _log.debug("no flush: %s", error.message)
            return False
        return True

    def close(self) -> None:
        """End writing; the connection belongs to the index."""
        self.flush()

    def _reached(self) -> int:
        return self._build.sequence if self._build else 0

    def _advance(self, build: Build, manifest: Manifest) -> None:
        is_new = build.dim == 0
        if is_new:
            build = replace(build, dim=manifest.dim, fingerprint=manifest.fingerprint, filled_to=0)
            analysis = analysis_of(self._truth.language())
            build = replace(build, analysis=analysis, sequence=self._truth.sequence())
            create(self._connection, build)
            self._note(build)
        if build.filled_to is not None:
            build = self._fill(build, is_new)
        changes = self._truth.changes(build.sequence)
        if changes.sequence != build.sequence:
            self._apply(build, changes)

    def _fill(self, build: Build, is_new: bool) -> Build:
        """Write every chunk in order of key; after a kill this goes on behind the last page that was noted."""
        assert build.filled_to is not None
        sequence = self._truth.sequence()
        method = "insert" if is_new else "upsert"  # the page behind the last note may be there
        for rows in self._pages(build, build.filled_to + 1, _LAST_KEY):
            self._send(build, method, rows)
            method = "insert"
            build = replace(build, filled_to=int(rows.keys[-1]))
            self._note(build)
        build = replace(build, filled_to=None)
        self._note(build)
        self._certain = sequence == build.sequence
        self.flush(force=True)
        return build

    def _apply(self, build: Build, changes: Changes) -> None:
        certain, self._certain = self._certain, False  # until Milvus has said yes to all of it
        gone = np.array([key for first, last in changes.deleted for key in range(first, last + 1)], np.int64)
        for at in range(0, len(gone), _DELETED):
            self._connection.call("delete", build.name, ids=gone[at : at + _DELETED].tolist())
        for first, last in merge_ranges(changes.added):
            for rows in self._pages(build, first, last):
                self._send(build, "insert" if certain else "upsert", rows)
        self._note(replace(build, sequence=changes.sequence))
        self._certain = True

    def _pages(self, build: Build, first: int, last: int) -> Iterator[Rows]:
        rows = max(1, min(_MAX_ROWS, _BATCH_BYTES // (4 * build.dim + _TEXT_BYTES)))
        return row_pages(self._truth, build.dim, first, last, rows)

    def _send(self, build: Build, method: str, rows: Rows) -> None:
        number, language = np.float16 if build.vectors == "float16" else np.float32, self._truth.language()
        data: list[dict[str, Any]] = [
            {"key": key, "vector": vector, "text": as_text(analyze(text, language))}
            for key, vector, text in zip(rows.keys.tolist(), apart(rows).astype(number), rows.texts, strict=True)
        ]
        self._connection.call(method, build.name, data=data)
        self._unflushed += len(data)
        self._on_rows(len(data))

    def _note(self, build: Build) -> None:
        write_note(self._folder, build)
        self._build = build


def apart(rows: Rows) -> Vectors:
    """The vectors (n, dim), of which no more than a few are equal: of many, HNSW makes a clique that hides the others.

    Each further one is moved its own way, by a unit in the last place of half precision in each number at most, which
    is about what the truth rounds off: some 10^-5 of a score, 10^-4 at most.
    """
    vectors = rows.vectors.copy()
    for at in np.flatnonzero(rows.crowded).tolist():
        unit = np.spacing(np.abs(vectors[at]).astype(np.float16)).astype(np.float32)
        vectors[at] += np.random.default_rng(int(rows.keys[at])).uniform(-1, 1, vectors.shape[1]) * unit
    return vectors


def drop_others(folder: Path, connection: Connection, kept: Build) -> None:
    """Drop every other collection of a generation at this address; one that is not dropped is named in the log."""
    for build in notes(folder):
        if build.name != kept.name and build.uri == connection.address.uri:
            drop(folder, connection, build)


def drop(folder: Path, connection: Connection, build: Build) -> None:
    """Drop a build; where Milvus does not answer, the log says what is left there."""
    try:
        if build.dim and connection.call("has_collection", build.name):
            connection.call("drop_collection", build.name)
    except IndexError_ as error:
        _log.warning("%s; the collection %s is left there: drop it by hand", error.message, build.name)
    forget_note(folder, build)
