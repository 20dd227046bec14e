"""reindex(): a new generation beside the serving one, built from the stored text; rollback() returns to the old one.

Readers go on with the old generation until the pointer is switched at one instant. A run that was cut off goes on where
it stopped. Keys and sequence numbers continue from the old generation, so one can never be taken for another's.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from indexer.chunk import ChunkSettings, chunk
from indexer.collection import LOCK_TIMEOUT_S, Collection
from indexer.document import Chunk, Document
from indexer.encoder import Encoder, Vectors
from indexer.errors import IndexError_
from indexer.generation import Generation
from indexer.ingest import manifest_of
from indexer.ledger import Progress
from indexer.store.changes import raise_numbers, read_language, write_language
from indexer.store.merging import MergePace
from indexer.store.records import DocumentInfo, Manifest
from indexer.store.rules import read_rules, write_rules
from indexer.store.text import embed_hash, embed_text
from indexer.store.truth import Truth
from indexer.store.writer import Writer, writing

_log = logging.getLogger(__name__)
_BATCH_CHUNKS = 128
_UNFINISHED = "unfinished"  # an empty file in a generation that has never been whole


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A generation that a reindex is building, or was when it was cut off."""

    generation: int
    manifest: Manifest
    documents_done: int
    documents: int
    holder: str  # who writes to the collection; empty when nobody does: then the same command goes on


def reindex(
    collection: Collection,
    encoder: Encoder,
    chunk_settings: ChunkSettings,
    on_progress: Callable[[Progress], None] | None = None,
    *,
    recipe: str = "",
    under: Mapping[str, Any] | None = None,
    on_wait: Callable[[str], None] | None = None,
    timeout_s: float = LOCK_TIMEOUT_S,
) -> int:
    """Build the collection anew with this encoder and chunking, switch to it, and return the number of its generation.

    Texts whose vectors this encoder made before are not encoded again. The old generation stays for rollback().
    The new one remembers `recipe`, from which the encoder can be built again; `under` as for Collection.switch.

    Raises:
        IndexError_: another process writes for longer than `timeout_s`, or the disk is full; the old one still answers.
    """
    with collection.lock.held("reindex", timeout_s, on_wait):
        old = collection.generation
        new = _begin(collection, old, manifest_of(encoder, chunk_settings, recipe))
        with writing(new.truth, new.index) as writer:
            writer.begin(manifest_of(encoder, chunk_settings, recipe))
            _Build(old, new, writer, encoder, chunk_settings, on_progress).run()
            _continue(old, new)  # again: the old one may have gone on since a cut-off run
        new.close()
        (new.folder / _UNFINISHED).unlink(missing_ok=True)
        collection.generations.switch(new.number, under)
        _remove_all_but(collection, (old.number, new.number))
        return new.number


def rollback(
    collection: Collection,
    *,
    under: Mapping[str, Any] | None = None,
    on_wait: Callable[[str], None] | None = None,
    timeout_s: float = LOCK_TIMEOUT_S,
) -> int:
    """Return to the generation before the last reindex; what was ingested or deleted since is not in it.

    `under` as for Collection.switch.

    Raises:
        IndexError_: there is none, or another process writes for longer than `timeout_s`.
    """
    with collection.lock.held("rollback", timeout_s, on_wait):
        current = collection.generation
        older = [number for number in collection.generations.numbers() if number < current.number]
        if not older:
            raise IndexError_(
                f"Collection '{collection.name}' has no earlier generation", "Only a reindex can be rolled back."
            )
        target = collection.generations.open(older[-1])
        _continue(current, target)  # with who may read what: a rollback opens nothing
        target.close()
        collection.generations.switch(target.number, under)
        return target.number


def unfinished(collection: Collection) -> Unfinished | None:
    """Look for a reindex that is at work, or that was cut off."""
    for number in collection.generations.numbers():
        folder = collection.generations.dir(number)
        if not (folder / _UNFINISHED).exists():
            continue
        truth = Truth(folder / "truth.db")
        try:
            manifest, done = truth.manifest(), len(truth.documents())
        finally:
            truth.close()
        if manifest is not None:
            return Unfinished(number, manifest, done, len(collection.documents()), str(collection.lock.holder() or ""))
    return None


def _begin(collection: Collection, old: Generation, manifest: Manifest) -> Generation:
    """Go on with a generation that a cut-off reindex with the same manifest left behind, or start one."""
    for number in collection.generations.numbers():
        if number > old.number:
            begun = collection.generations.open(number)
            stored = begun.truth.manifest()
            if stored and _built_with(stored) == _built_with(manifest):
                return begun
            begun.close()
            collection.generations.remove(begun.folder)
    new = collection.generations.open(old.number + 1, create=True, like=old)
    (new.folder / _UNFINISHED).touch()
    _continue(old, new)
    return new


def _built_with(manifest: Manifest) -> tuple[str, int, str, str]:
    """What decides chunks and vectors, by whatever name it was asked for."""
    return manifest.fingerprint, manifest.dim, manifest.chunker, manifest.cleaner


def _continue(source: Generation, target: Generation) -> None:
    """Let the target count on where the source is, ask of callers what the source asks, and speak its language."""
    with source.truth.reading() as db:
        rules, language = read_rules(db), read_language(db)
        numbers = dict(db.execute("SELECT name, seq FROM sqlite_sequence WHERE name IN ('chunks', 'operations')"))
    with target.truth.writing() as db:
        raise_numbers(db, numbers)
        write_rules(db, rules)  # which takes a number, too
        write_language(db, language)


def _remove_all_but(collection: Collection, numbers: tuple[int, int]) -> None:
    for number in collection.generations.numbers():
        if number not in numbers:
            with contextlib.suppress(OSError):
                collection.generations.remove(collection.generations.dir(number))


class _Build:
    """Fills a new generation from an old one, document by document."""

    def __init__(
        self,
        old: Generation,
        new: Generation,
        writer: Writer,
        encoder: Encoder,
        settings: ChunkSettings,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self._old, self._new, self._writer = old, new, writer
        self._encoder, self._settings, self._on_progress = encoder, settings, on_progress
        self._began = time.monotonic()
        self._documents = self._chunks = self._tokens = self._bytes_done = self._bytes_copied = self._cut = 0
        manifest = old.truth.manifest()
        self._same_encoder = manifest is not None and manifest.fingerprint == encoder.fingerprint

    def run(self) -> None:
        """Copy what is missing, drop what was deleted since a cut-off run, and copy the rest of the ledger."""
        infos = self._old.truth.documents()
        self._writer.on_merge = self._merging(len(infos))
        done = {document.id: (document.sha256, document.source) for document in self._new.truth.all_documents()}
        stale = set(done) - {info.id for info in infos}
        if stale:
            self._writer.delete(*sorted(stale))
        total = sum(info.bytes for info in infos)
        for at, info in enumerate(infos):
            document = self._old.truth.document(info.id)
            if document is not None and done.get(info.id) != (document.sha256, document.source):
                self._copy(document, info, self._progress(at, len(infos), total, info.source))
                self._bytes_copied += info.bytes
            self._bytes_done += info.bytes
            self._documents = at + 1
        self._copy_ledger()
        self._progress(len(infos), len(infos), total, "")
        if self._cut:
            limit = self._encoder.max_tokens
            _log.warning(
                "%d chunks with title and headings exceed the encoder's %d tokens and are cut", self._cut, limit
            )

    def _copy_ledger(self) -> None:
        """Copy it whole: lines of files that share a document, that failed, or that are gone since a cut-off run."""
        chunks = {info.id: info.chunks for info in self._new.truth.documents()}
        rows = self._old.truth.files()
        self._writer.replace_ledger(replace(row, chunks=chunks.get(row.document_id, row.chunks)) for row in rows)

    def _copy(self, document: Document, info: DocumentInfo, tell: Callable[[], None]) -> None:
        chunks = chunk(document, self._encoder.count_tokens, self._settings)
        vectors = self._vectors(document, chunks, tell)
        row = self._old.truth.file(document.source)
        if row is not None and row.document_id == document.id:
            row = replace(row, chunks=len(chunks))
        self._writer.add(document, chunks, vectors, row, size_bytes=info.bytes, added_at=info.added_at)
        self._chunks += len(chunks)

    def _vectors(self, document: Document, chunks: Sequence[Chunk], tell: Callable[[], None]) -> Vectors:
        texts = [embed_text(document.title, piece.heading_path, piece.text) for piece in chunks]
        names = [embed_hash(text) for text in texts]
        vectors = self._new.truth.cached_vectors(names, self._encoder.dim)
        if self._same_encoder:
            vectors |= self._old.truth.cached_vectors(names, self._encoder.dim)
        missing = {name: text for name, text in zip(names, texts, strict=True) if name not in vectors}
        for part in _parts(list(missing)):
            wanted = [missing[name] for name in part]
            vectors.update(zip(part, self._encoder.encode(wanted), strict=True))
            counts = self._encoder.count_tokens(wanted)
            self._tokens += sum(counts)
            self._cut += sum(tokens > self._encoder.max_tokens for tokens in counts)
            tell()
        return np.stack([vectors[name] for name in names])

    def _progress(self, done: int, total: int, total_bytes: int, current: str) -> Callable[[], None]:
        def tell() -> None:
            if self._on_progress is None:
                return
            elapsed = time.monotonic() - self._began
            left = total_bytes - self._bytes_done
            # What a cut-off run had done before took no time of this one.
            eta_s = elapsed / self._bytes_copied * left if self._bytes_copied else None
            self._on_progress(Progress(done, total, self._chunks, self._tokens, 0, elapsed, eta_s, current))

        tell()
        return tell

    def _merging(self, documents: int) -> Callable[[int, int], None]:
        pace = MergePace()

        def tell(merged: int, to_merge: int) -> None:
            if self._on_progress is not None:
                elapsed, eta_s = time.monotonic() - self._began, pace.left_s(merged, to_merge)
                done = (self._documents, documents, self._chunks, self._tokens, 0)
                self._on_progress(Progress(*done, elapsed, eta_s, "", merged, to_merge))

        return tell


def _parts(names: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for at in range(0, len(names), _BATCH_CHUNKS):
        yield names[at : at + _BATCH_CHUNKS]
