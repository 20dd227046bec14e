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
from indexer.load import MAX_BYTES, load
from indexer.sources import Candidate, LeftOut, find_sources, hash_file, nothing_found
from indexer.store.changes import now
from indexer.store.records import FileRow, Manifest
from indexer.store.text import embed_hash, embed_text
from indexer.store.truth import Truth
from indexer.store.writer import Writer

_log = logging.getLogger(__name__)
_BATCH_CHUNKS = 128  # files are encoded together up to this many, so that short ones share batches


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an ingest is."""

    files_done: int
    files_total: int
    chunks: int  # indexed so far
    tokens: int  # encoded so far
    failed: int
    elapsed_s: float
    eta_s: float | None  # None until something has been measured
    current: str  # the file in hand


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one file."""

    path: str
    state: str  # indexed, unchanged, failed or skipped
    reason: str = ""
    remedy: str = ""
    document_id: str = ""
    chunks: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of every file, in the order they were met."""

    files: tuple[FileOutcome, ...]
    elapsed_s: float
    tokens: int  # encoded; 0 when nothing was new
    truncated: int = 0  # chunks that were longer than the encoder's limit, with title and headings, and lost their end

    def count(self, state: str) -> int:
        """Return how many files ended in a state."""
        return sum(file.state == state for file in self.files)


OnProgress = Callable[[Progress], None]


def ingest(
    paths: Sequence[Path],
    collection: Collection,
    encoder: Encoder,
    chunk_settings: ChunkSettings,
    on_progress: OnProgress | None = None,
    *,
    on_wait: Callable[[str], None] | None = None,
    timeout_s: float = LOCK_TIMEOUT_S,
    max_file_bytes: int = MAX_BYTES,
) -> IngestReport:
    """Bring a collection up to date with files and folders; a file that fails costs only itself.

    Raises:
        ConfigError: the paths hold no file that could be read.
        IndexError_: the collection is of another encoder or chunking, locked for `timeout_s`, or the disk is full.
    """
    candidates, left_out = find_sources(paths)
    if not candidates:
        raise nothing_found(paths, left_out)
    with collection.writer(on_wait, command="ingest", timeout_s=timeout_s) as writer:
        writer.begin(manifest_of(encoder, chunk_settings))
        run = _Run(collection.generation.truth, writer, encoder, chunk_settings, max_file_bytes, candidates)
        run.on_progress = on_progress
        run.leave_out(left_out)
        for candidate in candidates:
            run.take(candidate)
        run.flush()
    return IngestReport(tuple(run.outcomes), time.monotonic() - run.began, run.tokens, run.truncated)


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
        candidates: Sequence[Candidate],
    ) -> None:
        self._truth, self._writer, self._encoder, self._settings = truth, writer, encoder, settings
        self._max_file_bytes = max_file_bytes
        self._files_total = len(candidates)
        self._bytes_left = sum(candidate.bytes for candidate in candidates)
        self._bytes_encoded = 0
        self._waiting: list[_Prepared] = []
        self.on_progress: OnProgress | None = None
        self.outcomes: list[FileOutcome] = []
        self.tokens = self.truncated = 0
        self.began = time.monotonic()
        self._done = self._failed = self._chunks = 0

    def leave_out(self, items: Sequence[LeftOut]) -> None:
        """Account for what is not read."""
        rows = []
        for item in items:
            row = FileRow(
                item.source, "failed" if item.failed else "skipped", item.reason, item.remedy, updated_at=now()
            )
            self.outcomes.append(FileOutcome(row.path, row.state, row.reason, row.remedy))
            self._failed += item.failed
            old = self._truth.file(item.source)
            if old is None or (not old.document_id and (old.state, old.reason) != (row.state, row.reason)):
                rows.append(row)
        if rows:
            self._writer.record(*rows)

    def take(self, candidate: Candidate) -> None:
        """Read one file; unless nothing changed in it, its chunks then wait for the encoder."""
        self._tell(candidate.source)
        digest = hash_file(candidate.path, self._max_file_bytes)
        old = self._truth.file(candidate.source)
        if old and (old.state, old.sha256, old.cleaner) == ("indexed", digest, CLEANER_VERSION):
            self._finish(replace(old, state="unchanged"), candidate.bytes)
            return
        try:
            self._waiting.append(self._prepare(candidate))
        except FootnoteError as error:
            self._fail(_failed_row(candidate, digest, old), error)
            return
        except Exception as error:  # a loader's mistake costs one file
            _log.exception("reading %s failed", candidate.source)
            self._fail(_failed_row(candidate, digest, old), _unexpected(candidate.source, error))
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
                    self._fail(replace(prepared.row, state="failed"), error)

    def _prepare(self, candidate: Candidate) -> _Prepared:
        start = time.perf_counter()
        document = load(candidate.path, self._max_file_bytes)
        for text in (document.title, document.text):
            text.encode()  # half a surrogate pair can neither be stored nor encoded
        loaded = time.perf_counter()
        chunks = chunk(document, self._encoder.count_tokens, self._settings)
        if not chunks:
            raise DocumentError(f"{document.source}: it holds no text", "Fill it, or leave it out.")
        texts = tuple(embed_text(document.title, piece.heading_path, piece.text) for piece in chunks)
        row = FileRow(
            document.source,
            "indexed",
            sha256=document.sha256,
            bytes=candidate.bytes,
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
            self._writer.add(prepared.document, prepared.chunks, rows, row)
            self._chunks += len(rows)
            self._finish(row, row.bytes)

    def _vectors(self, batch: Sequence[_Prepared]) -> dict[bytes, Vectors]:
        """Vectors (dim,) by text hash: those that are stored, and those that the encoder makes now."""
        texts = {embed_hash(text): text for prepared in batch for text in prepared.texts}
        vectors = self._truth.cached_vectors(list(texts), self._encoder.dim)
        missing = [name for name in texts if name not in vectors]
        if missing:
            wanted = [texts[name] for name in missing]
            share = sum(prepared.row.bytes for prepared in batch) / len(wanted)
            current = batch[0].row.path
            encoded = self._encoder.encode(wanted, "", lambda done: self._tell(current, round(done * share)))
            counts = self._encoder.count_tokens(wanted)
            self.tokens += sum(counts)
            self.truncated += sum(count > self._encoder.max_tokens for count in counts)
            vectors.update(zip(missing, encoded, strict=True))
            self._bytes_encoded += sum(prepared.row.bytes for prepared in batch)
        return vectors

    def _fail(self, row: FileRow, error: FootnoteError) -> None:
        reason = error.message.removeprefix(f"{row.path}: ")
        kept = self._truth.document_chunks(row.document_id)
        if kept:
            reason += "; the version that was indexed before still answers"
        row = replace(row, state="failed", reason=reason, remedy=error.remedy, chunks=len(kept), updated_at=now())
        if not kept:
            row = replace(row, document_id="")
        self._writer.record(row)
        self._finish(row, row.bytes)

    def _finish(self, row: FileRow, size_bytes: int) -> None:
        self._done += 1
        self._failed += row.state == "failed"
        self._bytes_left -= size_bytes
        self.outcomes.append(
            FileOutcome(row.path, row.state, row.reason, row.remedy, row.document_id, row.chunks, row.bytes)
        )
        self._tell(row.path)

    def _tell(self, current: str, bytes_in_hand: int = 0) -> None:
        if self.on_progress is None:
            return
        elapsed, encoded = time.monotonic() - self.began, self._bytes_encoded + bytes_in_hand
        eta_s = elapsed / encoded * max(0, self._bytes_left - bytes_in_hand) if encoded else None
        self.on_progress(
            Progress(self._done, self._files_total, self._chunks, self.tokens, self._failed, elapsed, eta_s, current)
        )


def _failed_row(candidate: Candidate, digest: str, old: FileRow | None) -> FileRow:
    document_id = old.document_id if old else ""
    return FileRow(candidate.source, "failed", sha256=digest, bytes=candidate.bytes, document_id=document_id)


def _unexpected(source: str, error: Exception) -> DocumentError:
    reason = " ".join(str(error).split())[:200]
    return DocumentError(
        f"{source}: reading it failed unexpectedly: {type(error).__name__}: {reason}", "Report this with the file."
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
