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
from indexer.document import INSIDE, Chunk, Document
from indexer.encoder import Encoder, Vectors
from indexer.errors import DocumentError, FootnoteError, ModelError
from indexer.load import LeftOutError, Limits
from indexer.parser import Parsed, Parser
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
    limits: Limits | None = None,
) -> IngestReport:
    """Bring a collection up to date with files and folders; a file that fails costs only itself.

    Raises:
        ConfigError: the paths hold no file that could be read.
        IndexError_: the collection is of another encoder or chunking, locked for `timeout_s`, or the disk is full.
    """
    candidates, left_out = find_sources(paths)
    if not candidates:
        raise nothing_found(paths, left_out)
    with collection.writer(on_wait, command="ingest", timeout_s=timeout_s) as writer, Parser(limits) as parser:
        writer.begin(manifest_of(encoder, chunk_settings))
        run = _Run(collection.generation.truth, writer, encoder, chunk_settings, parser, candidates)
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
        parser: Parser,
        candidates: Sequence[Candidate],
    ) -> None:
        self._truth, self._writer, self._encoder, self._settings = truth, writer, encoder, settings
        self._parser = parser
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
        """Read one file and what it holds; what is new in it then waits for the encoder."""
        self._tell(candidate.source)
        digest = hash_file(candidate.path, self._parser.limits.max_bytes)
        old = self._truth.file(candidate.source)
        if old and (old.state, old.sha256, old.cleaner) == ("indexed", digest, CLEANER_VERSION):
            inside = self._truth.files_inside(candidate.source)
            if old.reason == _holds(len(inside)) and all(row.state != "failed" for row in inside):
                self._unchanged(old, candidate.bytes)
                for row in inside:
                    self._unchanged(row)
                return
        self._read(candidate, digest, old)
        if sum(len(prepared.chunks) for prepared in self._waiting) >= _BATCH_CHUNKS:
            self.flush()

    def _read(self, candidate: Candidate, digest: str, old: FileRow | None) -> None:
        started = time.perf_counter()
        whole: Parsed | None = None
        inside: set[str] = set()
        for parsed in self._parser.parse(candidate.path):
            load_ms, started = _ms(time.perf_counter() - started), time.perf_counter()
            if parsed.source == candidate.source:
                whole, whole_ms = parsed, load_ms
            else:
                inside.add(parsed.source)
                self._take_inside(parsed, load_ms)
        assert whole is not None, "a parser answers for the file itself"
        if whole.error:
            self._fail(_failed_row(candidate, digest, old), whole.error)
            return
        self._forget_gone(candidate.source, inside)
        row = FileRow(candidate.source, "indexed", sha256=digest, bytes=candidate.bytes, cleaner=CLEANER_VERSION)
        row = replace(row, reason=_holds(len(inside)), load_ms=whole_ms)
        if whole.document:
            self._await(whole.document, row)
        if inside:
            # The line on the archive or mail comes last: were the run cut off before, it would be read again.
            self.flush()
        if not whole.document:
            row = replace(row, updated_at=now())
            self._writer.record(row)
            self._finish(row, row.bytes)

    def _take_inside(self, parsed: Parsed, load_ms: float) -> None:
        old = self._truth.file(parsed.source)
        if parsed.error:
            if isinstance(parsed.error, LeftOutError):
                reason = parsed.error.message.removeprefix(f"{parsed.source}: ")
                row = FileRow(parsed.source, "skipped", reason, parsed.error.remedy, updated_at=now())
                self._writer.record(row)
                self._finish(row)
            else:
                self._fail(FileRow(parsed.source, "failed", document_id=old.document_id if old else ""), parsed.error)
        elif parsed.document is None:
            row = FileRow(parsed.source, "indexed", "It holds further files", bytes=parsed.bytes, updated_at=now())
            self._writer.record(row)
            self._finish(row)
        elif old and (old.state, old.sha256, old.cleaner) == ("indexed", parsed.document.sha256, CLEANER_VERSION):
            self._unchanged(old)
        else:
            row = FileRow(parsed.source, "indexed", bytes=parsed.bytes, cleaner=CLEANER_VERSION, load_ms=load_ms)
            self._await(parsed.document, replace(row, sha256=parsed.document.sha256))

    def _await(self, document: Document, row: FileRow) -> None:
        try:
            self._waiting.append(self._prepare(document, row))
        except FootnoteError as error:
            self._fail(replace(row, state="failed"), error)
        except Exception as error:  # a mistake of ours costs one file
            _log.exception("chunking %s failed", row.path)
            self._fail(replace(row, state="failed", document_id=document.id), _unexpected(row.path, error))

    def _unchanged(self, row: FileRow, size_bytes: int = 0) -> None:
        self._finish(replace(row, state="unchanged") if row.state == "indexed" else row, size_bytes)

    def _forget_gone(self, source: str, inside: set[str]) -> None:
        """Remove what an archive or mail held when it was last read, and holds no longer."""
        for row in self._truth.files_inside(source):
            if row.path not in inside:
                self._writer.forget(row)

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

    def _prepare(self, document: Document, row: FileRow) -> _Prepared:
        started = time.perf_counter()
        for text in (document.title, document.text):
            text.encode()  # half a surrogate pair can neither be stored nor encoded
        chunks = chunk(document, self._encoder.count_tokens, self._settings)
        if not chunks:
            raise DocumentError(f"{document.source}: it holds no text", "Fill it, or leave it out.")
        texts = tuple(embed_text(document.title, piece.heading_path, piece.text) for piece in chunks)
        chunk_ms = _ms(time.perf_counter() - started)
        row = replace(row, document_id=document.id, chunks=len(chunks), chunk_ms=chunk_ms)
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
            self._finish(row, 0 if INSIDE in row.path else row.bytes)

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
        self._finish(row, 0 if INSIDE in row.path else row.bytes)

    def _finish(self, row: FileRow, size_bytes: int = 0) -> None:
        self._done += INSIDE not in row.path
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


def _holds(files: int) -> str:
    """What the ledger says of a file that holds others: a number that no longer fits asks for reading it again."""
    return f"It holds {files} {'file' if files == 1 else 'files'}" if files else ""


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
