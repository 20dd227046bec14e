"""ingest(): load -> clean -> chunk -> encode -> index, file by file, with an account of every file.

A file is indexed in one transaction: document, chunks, vectors and the ledger's word "indexed" are there together or
not at all, so a run that was cut off at any instant is simply run again.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from indexer.chunk import CHUNKER_VERSION, ChunkSettings, chunk
from indexer.clean import CLEANER_VERSION
from indexer.collection import LOCK_TIMEOUT_S, Collection
from indexer.document import Chunk, Document
from indexer.encoder import Encoder, Vectors
from indexer.errors import DocumentError, FootnoteError, ModelError
from indexer.ledger import Account, IngestReport, OnProgress, choose_id, find_twin, outcome_of
from indexer.load import MAX_BYTES, load, source_of
from indexer.prune import gone_below, refuse_emptied
from indexer.sources import Candidate, LeftOut, find_sources, hash_file, is_gone, nothing_found
from indexer.store.changes import now
from indexer.store.records import FileRow, Manifest
from indexer.store.text import embed_hash, embed_text
from indexer.store.truth import Truth
from indexer.store.writer import Writer

_log = logging.getLogger(__name__)
_BATCH_CHUNKS = 128  # files are encoded together up to this many, so that short ones share batches


@dataclass(frozen=True, slots=True)
class Task:
    """What one run has to do."""

    candidates: Sequence[Candidate]
    left_out: Sequence[LeftOut]
    roots: Sequence[str] = ()  # at and below them, what is no longer on disk is removed


def ingest(
    paths: Sequence[Path],
    collection: Collection,
    encoder: Encoder,
    chunk_settings: ChunkSettings,
    on_progress: OnProgress | None = None,
    *,
    prune: bool = False,
    force: bool = False,
    may_be_nothing: bool = False,
    on_wait: Callable[[str], None] | None = None,
    timeout_s: float = LOCK_TIMEOUT_S,
    max_file_bytes: int = MAX_BYTES,
) -> IngestReport:
    """Bring a collection up to date with files and folders; a file that fails costs only itself.

    With `prune`, documents of these paths whose file is gone are removed, but for a path that is missing or empty only
    with `force`.

    Raises:
        ConfigError: the paths hold no file that could be read, unless there `may_be_nothing`; pruning was refused.
        IndexError_: the collection is of another encoder or chunking, locked for `timeout_s`, or the disk is full.
    """
    candidates, left_out = find_sources(paths)
    if not candidates and not may_be_nothing:
        raise nothing_found(paths, left_out)
    if prune and not force:
        refuse_emptied(collection.generation.truth, paths)
    elif prune:
        left_out = [item for item in left_out if not is_gone(item.source)]  # that it is gone is what was said
    task = Task(candidates, left_out, [source_of(path) for path in paths] if prune else ())
    return perform(
        task,
        collection,
        encoder,
        chunk_settings,
        on_progress,
        on_wait=on_wait,
        timeout_s=timeout_s,
        max_file_bytes=max_file_bytes,
    )


def perform(
    task: Task,
    collection: Collection,
    encoder: Encoder,
    chunk_settings: ChunkSettings,
    on_progress: OnProgress | None = None,
    *,
    on_wait: Callable[[str], None] | None = None,
    timeout_s: float = LOCK_TIMEOUT_S,
    max_file_bytes: int = MAX_BYTES,
) -> IngestReport:
    """Read, encode and index the files of a task, then remove what is gone.

    Raises:
        IndexError_: see ingest().
    """
    with collection.writer(on_wait, command="ingest", timeout_s=timeout_s) as writer:
        writer.begin(manifest_of(encoder, chunk_settings))
        account = Account(len(task.candidates), sum(candidate.bytes for candidate in task.candidates), on_progress)
        run = _Run(collection.generation.truth, writer, encoder, chunk_settings, max_file_bytes, account)
        run.leave_out(task.left_out)
        for candidate in task.candidates:
            run.take(candidate)
        run.flush()
        run.prune(task.roots)
    return account.report()


def manifest_of(encoder: Encoder, settings: ChunkSettings) -> Manifest:
    """Describe what a generation is built with."""
    chunker = f"{CHUNKER_VERSION}: {settings.max_tokens} tokens, overlap {settings.overlap_tokens}"
    return Manifest(encoder.fingerprint, encoder.dim, chunker, CLEANER_VERSION, now())


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A document cut into chunks, waiting for its vectors."""

    document: Document
    chunks: tuple[Chunk, ...]
    texts: tuple[str, ...]  # as they are encoded
    row: FileRow


class _Run:
    """One ingest: takes files one by one, and encodes and writes them in small batches."""

    def __init__(
        self,
        truth: Truth,
        writer: Writer,
        encoder: Encoder,
        settings: ChunkSettings,
        max_file_bytes: int,
        account: Account,
    ) -> None:
        self._truth, self._writer, self._encoder, self._settings = truth, writer, encoder, settings
        self._max_file_bytes, self._account = max_file_bytes, account
        self._waiting: list[_Prepared] = []

    def leave_out(self, items: Sequence[LeftOut]) -> None:
        """Account for what is not read."""
        rows = []
        for item in items:
            row = FileRow(
                item.source, "failed" if item.failed else "skipped", item.reason, item.remedy, updated_at=now()
            )
            self._account.leave_out(outcome_of(row))
            old = self._truth.file(item.source)
            if old is None or (not old.document_id and (old.state, old.reason) != (row.state, row.reason)):
                rows.append(row)
        if rows:
            self._writer.record(*rows)

    def take(self, candidate: Candidate) -> None:
        """Read one file; unless nothing changed in it, its chunks then wait for the encoder."""
        self._account.tell(candidate.source)
        digest = hash_file(candidate.path, self._max_file_bytes)
        old = self._truth.file(candidate.source)
        if old and (old.state, old.sha256, old.cleaner) == ("indexed", digest, CLEANER_VERSION):
            self._account.finish(outcome_of(old, "unchanged"), candidate.bytes)
            return
        if any(prepared.row.sha256 == digest for prepared in self._waiting):
            self.flush()  # then its twin can be found
        if digest and (twin := find_twin(self._truth, candidate.source, digest)):
            self._adopt(candidate, twin)
            return
        row = _row(candidate, digest, old)
        try:
            self._waiting.append(self._prepare(candidate, row))
        except FootnoteError as error:
            self._fail(row, error)
            return
        except Exception as error:  # a loader's mistake costs one file
            _log.exception("reading %s failed", candidate.source)
            self._fail(row, _unexpected(candidate.source, error))
            return
        if sum(len(prepared.chunks) for prepared in self._waiting) >= _BATCH_CHUNKS:
            self.flush()

    def flush(self) -> None:
        """Encode what waits, in one go, and write each file in a transaction of its own."""
        batch, self._waiting = self._waiting, []
        try:
            self._index(batch)
        except ModelError:
            # One text may have spoilt the batch: file by file, the others still get through.
            for prepared in batch:
                try:
                    self._index([prepared])
                except ModelError as error:
                    self._fail(prepared.row, error)

    def prune(self, roots: Sequence[str]) -> None:
        """Remove what is no longer on disk at or below the roots; files that moved have left there already."""
        met = {outcome.path for outcome in self._account.outcomes}
        gone = [source for source in gone_below(self._truth, roots) if source not in met] if roots else []
        if gone:
            rows = [self._truth.file(source) or FileRow(source, "indexed") for source in gone]
            self._writer.forget(*gone)
            for row in rows:
                self._account.leave_out(replace(outcome_of(row, "pruned"), reason="The file is gone"))

    def _adopt(self, candidate: Candidate, twin: FileRow) -> None:
        """Let a file take the place of its twin that is gone, or share the document of one that is there."""
        moved = is_gone(twin.path)
        change = "moved" if moved else "duplicate"
        row = replace(twin, path=candidate.source, bytes=candidate.bytes, change=change, updated_at=now())
        row = replace(row, load_ms=0.0, chunk_ms=0.0, encode_ms=0.0, index_ms=0.0)
        if moved:
            self._writer.move(twin.path, row)
        else:
            self._writer.share(row)
        self._account.finish(outcome_of(row), candidate.bytes)

    def _prepare(self, candidate: Candidate, row: FileRow) -> _Prepared:
        start = time.perf_counter()
        document = load(candidate.path, self._max_file_bytes)
        document = replace(document, id=choose_id(self._truth, document))
        for text in (document.title, document.text):
            text.encode()  # half a surrogate pair can neither be stored nor encoded
        loaded = time.perf_counter()
        chunks = chunk(document, self._encoder.count_tokens, self._settings)
        if not chunks:
            raise DocumentError(f"{document.source}: it holds no text", "Fill it, or leave it out.")
        texts = tuple(embed_text(document.title, piece.heading_path, piece.text) for piece in chunks)
        row = replace(
            row,
            sha256=document.sha256,
            document_id=document.id,
            chunks=len(chunks),
            cleaner=CLEANER_VERSION,
            load_ms=_ms(loaded - start),
            chunk_ms=_ms(time.perf_counter() - loaded),
        )
        return _Prepared(document, chunks, texts, row)

    def _index(self, batch: Sequence[_Prepared]) -> None:
        start = time.perf_counter()
        vectors = self._vectors(batch)
        encode_ms = _ms(time.perf_counter() - start) / max(1, sum(len(prepared.chunks) for prepared in batch))
        for prepared in batch:
            rows = np.stack([vectors[embed_hash(text)] for text in prepared.texts])
            row = replace(prepared.row, encode_ms=round(encode_ms * len(rows), 1), updated_at=now())
            row = self._writer.add(prepared.document, prepared.chunks, rows, row) or row
            self._account.chunks += len(rows)
            self._account.finish(outcome_of(row), row.bytes)

    def _vectors(self, batch: Sequence[_Prepared]) -> dict[bytes, Vectors]:
        """Vectors (dim,) by text hash: those that are stored, and those that the encoder makes now."""
        texts = {embed_hash(text): text for prepared in batch for text in prepared.texts}
        vectors = self._truth.cached_vectors(list(texts), self._encoder.dim)
        missing = [name for name in texts if name not in vectors]
        if missing:
            wanted = [texts[name] for name in missing]
            share = sum(prepared.row.bytes for prepared in batch) / len(wanted)
            current = batch[0].row.path
            counts = self._encoder.count_tokens(wanted)
            tokens_each = sum(counts) / len(wanted)
            encoded = self._encoder.encode(
                wanted, "", lambda done: self._account.tell(current, round(done * share), round(done * tokens_each))
            )
            self._account.encoded(sum(prepared.row.bytes for prepared in batch), counts, self._encoder.max_tokens)
            vectors.update(zip(missing, encoded, strict=True))
        return vectors

    def _fail(self, row: FileRow, error: FootnoteError) -> None:
        reason = error.message.removeprefix(f"{row.path}: ")
        old = self._truth.file(row.path)
        document_id = old.document_id if old else ""
        kept = self._truth.document_chunks(document_id)
        if kept:
            reason += "; the version that was indexed before still answers"
        row = replace(row, state="failed", reason=reason, remedy=error.remedy, updated_at=now())
        row = replace(row, document_id=document_id if kept else "", chunks=len(kept))
        self._writer.record(row)
        self._account.finish(outcome_of(row), row.bytes)


def _row(candidate: Candidate, digest: str, old: FileRow | None) -> FileRow:
    document_id = old.document_id if old else ""
    change = "changed" if document_id else "new"
    size = candidate.bytes
    return FileRow(candidate.source, "indexed", sha256=digest, bytes=size, document_id=document_id, change=change)


def _unexpected(source: str, error: Exception) -> DocumentError:
    reason = " ".join(str(error).split())[:200]
    return DocumentError(
        f"{source}: reading it failed unexpectedly: {type(error).__name__}: {reason}", "Report this with the file."
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
