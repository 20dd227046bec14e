"""Writing to one generation: the truth first, then the indexes that follow from it."""

import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from indexer.access import check_groups
from indexer.document import Chunk, Document
from indexer.encoder import Vectors
from indexer.errors import FootnoteError, IndexError_
from indexer.store.changes import add_document, delete_document, now, record_file, write_language, write_manifest
from indexer.store.index import DenseSearch, Follower, Index, OnMerge
from indexer.store.language import Language
from indexer.store.merging import noted
from indexer.store.records import FileRow, Manifest
from indexer.store.rules import grant, restrict, revoke
from indexer.store.sources import forget, leave, move, share
from indexer.store.truth import Truth

_log = logging.getLogger(__name__)
_PUBLISH_S = 1.0  # readers of other processes see a new document at most this long after its commit


class Writer:
    """The only writer of a generation while it lives. What `add` and `delete` return from is committed."""

    def __init__(self, truth: Truth, follower: Follower, dense: DenseSearch) -> None:
        self._truth, self._follower, self._dense = truth, follower, dense
        self._published = time.monotonic()
        self._group: sqlite3.Connection | None = None
        self.on_merge: OnMerge | None = None  # is told how far a merge of the dense index is

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Commit all changes of the block at once, or none of them: many small ones then cost one sync of the disk."""
        with self._truth.writing() as db:
            self._group = db
            try:
                yield
            finally:
                self._group = None
        self.publish()

    def begin(self, manifest: Manifest) -> None:
        """Fix the manifest of a new generation, or check that `manifest` is the one it was built with.

        Raises:
            IndexError_: the generation was built with another encoder or chunker.
        """
        stored = self._truth.manifest()
        if stored is None or (stored != manifest and not self._truth.sources()):
            with self._truth.writing() as db:
                write_manifest(db, manifest)
        elif (stored.fingerprint, stored.chunker) != (manifest.fingerprint, manifest.chunker):
            if stored.fingerprint != manifest.fingerprint:
                what, theirs, ours = "encoder", stored.fingerprint[:12], manifest.fingerprint[:12]
            else:
                what, theirs, ours = "chunking", stored.chunker, manifest.chunker
            name = self._truth.path.parents[2].name
            raise IndexError_(
                f"Collection '{name}' was built with another {what} ({theirs}, not {ours})",
                f"Run `footnote reindex --collection {name}` to build it with that one, or take the {what} out of the "
                "settings: the collection remembers its own.",
            )

    def add(
        self,
        document: Document,
        chunks: Sequence[Chunk],
        vectors: Vectors,
        file: FileRow | None = None,
        *,
        size_bytes: int = 0,
        added_at: str = "",
    ) -> FileRow | None:
        """Store a document, its chunks and their vectors (len(chunks), dim) in one transaction, with its ledger line.

        An older version of the document (same id or source) is replaced in the same transaction; one that other sources
        share stays with them. Size and date are taken from `file` and the clock unless given. Returns the ledger line
        with the time that this took.
        """
        size_bytes = size_bytes or (file.bytes if file else len(document.text.encode()))
        began = time.perf_counter()
        with self._transaction() as db:
            leave(db, document.source, document.id)
            add_document(db, document, chunks, vectors, size_bytes, added_at or now())
            if file:
                file = replace(file, index_ms=round((time.perf_counter() - began) * 1000, 1))
                record_file(db, file)
        self.publish()
        return file

    def record(self, *files: FileRow) -> None:
        """Write the ledger's lines on files that brought no document."""
        with self._transaction() as db:
            for file in files:
                record_file(db, file)

    def share(self, file: FileRow) -> None:
        """Let a file be one more source of the document that it has the content of, in place of its own."""
        with self._transaction() as db:
            share(db, file)
        self.publish()

    def move(self, old: str, file: FileRow) -> None:
        """Let a document have the source of `file` in place of `old`; its id, chunks and vectors stay."""
        with self._transaction() as db:
            move(db, old, file)
        self.publish()

    def forget(self, *sources: str) -> None:
        """Remove sources and their ledger lines in one transaction; a document goes with its last source."""
        with self._transaction() as db:
            for source in sources:
                forget(db, source)
        self.publish()

    def replace_ledger(self, files: Iterable[FileRow]) -> None:
        """Let the ledger be these lines and no others."""
        with self._transaction() as db:
            db.execute("DELETE FROM files")
            for file in files:
                record_file(db, file)

    def delete(self, *document_ids: str) -> int:
        """Delete documents in one transaction; returns how many were there. From then on they answer nowhere."""
        with self._transaction() as db:
            deleted = sum(delete_document(db, document_id) for document_id in document_ids)
        self.publish()
        return deleted

    def restrict(self, groups: Sequence[str], *paths: str) -> None:
        """Leave what lies at or below these paths to groups, in one transaction; to all who may use the collection, if
        there are none. Raises ConfigError where a name cannot be that of a group.
        """
        names = check_groups(groups)
        with self._transaction() as db:
            for path in paths:
                restrict(db, path, names)

    def grant(self, *groups: str) -> None:
        """Let groups use the collection. Raises ConfigError where a name cannot be that of a group."""
        names = check_groups(groups)
        with self._transaction() as db:
            grant(db, names)

    def revoke(self, *groups: str) -> None:
        """Let groups use the collection no more."""
        with self._transaction() as db:
            revoke(db, groups)

    def speak(self, language: Language) -> None:
        """Let the index of words be one of this language."""
        if self._truth.language() != language:
            with self._transaction() as db:
                write_language(db, language)
        self.publish(force=True)

    def publish(self, force: bool = False) -> None:
        """Bring the index up to date if the last time is a while ago."""
        if self._group is None and (force or time.monotonic() - self._published > _PUBLISH_S):
            self._follower.catch_up()
            with noted(self._truth.path.parent, self.on_merge) as told:
                self._dense.keep_up(told)
            self._published = time.monotonic()

    def _transaction(self) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        return contextlib.nullcontext(self._group) if self._group else self._truth.writing()


@contextlib.contextmanager
def writing(truth: Truth, index: Index, merge: bool = True) -> Iterator[Writer]:
    """Write to a generation; at the end, interrupted or not, its index follows, and is merged where that is due."""
    follower = index.follower()
    writer = Writer(truth, follower, index.dense)
    try:
        follower.catch_up()
        yield writer
        writer.publish(force=True)
        if merge:
            with noted(truth.path.parent, writer.on_merge) as told:
                index.dense.merge(on_merge=told)
    except BaseException:
        with contextlib.suppress(FootnoteError):  # the first error is the one to tell; opening catches up
            writer.publish(force=True)
        raise
    finally:
        follower.close()
        try:
            truth.checkpoint()
        except IndexError_ as error:
            _log.warning("%s", error.message)
