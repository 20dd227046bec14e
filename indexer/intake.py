"""Intake: one ingest at work. It takes files one by one, and encodes and writes them in small batches.

Three things go on at once: a process reads files, a thread encodes one batch, and the caller's thread cuts the next
into chunks and writes the one before in one transaction: a sync of the disk for each file took as long as encoding it.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np

from indexer.batch import Batch, BatchEncoder, Encoded, Prepared
from indexer.chunk import ChunkSettings, chunk, named_after
from indexer.clean import CLEANER_VERSION
from indexer.document import INSIDE, Document
from indexer.encoder import Encoder
from indexer.errors import DocumentError, FootnoteError, ModelError
from indexer.ledger import Account, choose_id, find_twin, holds, members, outcome_of
from indexer.load import LeftOutError
from indexer.parser import Ahead, Parsed, Reader
from indexer.prune import gone_below
from indexer.sources import Candidate, LeftOut, is_gone
from indexer.store.changes import now
from indexer.store.records import FileRow
from indexer.store.text import embed_hash, embed_text
from indexer.store.truth import Truth
from indexer.store.writer import Writer

_log = logging.getLogger(__name__)
_BATCH_CHUNKS = 128  # files are encoded together up to this many, so that short ones share batches


class Intake:
    """Takes the files of one run, in the only writer's hands. As a context manager it leaves no encoding behind."""

    def __init__(
        self,
        truth: Truth,
        writer: Writer,
        encoder: Encoder,
        settings: ChunkSettings,
        reader: Reader,
        account: Account,
    ) -> None:
        self._truth, self._writer, self._encoder, self._settings = truth, writer, encoder, settings
        self._reader, self._account = reader, account
        self._waiting: list[Prepared] = []
        self._batches = BatchEncoder(truth, encoder, account)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._batches.__exit__(kind, error, traceback)

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
        """Read one file and what it holds; what is new in it then waits for the encoder."""
        self._account.tell(candidate.source)
        digest = self._reader.digest(candidate.path)
        old = self._truth.file(candidate.source)
        if old and _is_current(old, digest):
            inside = members(self._truth, old.path)
            if _is_whole(old, inside):
                self._finish(old, "unchanged")
                for row in inside:
                    self._finish(row, "unchanged" if row.state == "indexed" else "")
                return
        if any(prepared.row.sha256 == digest for prepared in (*self._waiting, *self._batches.batch)):
            self.flush()  # then its twin can be found
        if digest and (twin := find_twin(self._truth, candidate.source, digest)):
            self._adopt(candidate, twin)
            return
        self._read(candidate, digest)
        if sum(len(prepared.chunks) for prepared in self._waiting) >= _BATCH_CHUNKS:
            self._hand_over()

    def _read(self, candidate: Candidate, digest: str) -> None:
        started = time.perf_counter()
        row = self._row(candidate.source, digest, candidate.bytes)
        whole: Parsed | None = None
        inside: set[str] = set()
        for parsed in self._reader.parse(candidate.path):
            load_ms, started = _ms(time.perf_counter() - started), time.perf_counter()
            load_ms = parsed.ahead.load_ms if parsed.ahead else load_ms
            if parsed.source == candidate.source:
                whole, row = parsed, replace(row, load_ms=load_ms)
            else:
                inside.add(parsed.source)
                self._take_inside(parsed, load_ms)
        assert whole is not None, "a parser answers for the file itself"
        if whole.error:
            self._fail(row, whole.error)
            return
        # What an archive or mail held when it was last read, and holds no longer.
        if gone := [each.path for each in members(self._truth, candidate.source) if each.path not in inside]:
            self._writer.forget(*gone)
        row = replace(row, reason=holds(len(inside)))
        if whole.document:
            self._await(whole.document, row, whole.ahead)
        if inside:
            # The line on the archive or mail comes last: were the run cut off before, it would be read again.
            self.flush()
        if not whole.document:
            self._empty(row)

    def _take_inside(self, parsed: Parsed, load_ms: float) -> None:
        digest = parsed.document.sha256 if parsed.document else ""
        row = replace(self._row(parsed.source, digest, parsed.bytes), load_ms=load_ms)
        old = self._truth.file(parsed.source)
        if isinstance(parsed.error, LeftOutError):
            reason = parsed.error.message.removeprefix(f"{parsed.source}: ")
            self._empty(FileRow(parsed.source, "skipped", reason, parsed.error.remedy))
        elif parsed.error:
            self._fail(row, parsed.error)
        elif parsed.document is None:
            self._empty(replace(row, reason="It holds further files"))
        elif old and _is_current(old, digest):
            self._finish(old, "unchanged")
        else:
            self._await(parsed.document, row, parsed.ahead)

    def _row(self, source: str, digest: str, size_bytes: int) -> FileRow:
        """The line of a file that is about to be indexed."""
        old = self._truth.file(source)
        change = "changed" if old and old.document_id else "new"
        return FileRow(source, "indexed", sha256=digest, bytes=size_bytes, cleaner=CLEANER_VERSION, change=change)

    def _await(self, document: Document, row: FileRow, ahead: Ahead | None) -> None:
        try:
            self._waiting.append(self._prepare(document, row, ahead))
        except FootnoteError as error:
            self._fail(row, error)
        except Exception as error:  # a mistake of ours costs one file
            _log.exception("chunking %s failed", row.path)
            self._fail(row, _unexpected(row.path, error))

    def flush(self) -> None:
        """Encode what waits and write it."""
        while self._waiting or self._batches.batch:
            self._hand_over()

    def _hand_over(self) -> None:
        """Await the batch that is being encoded, let the next begin, and write the one that is done meanwhile."""
        batch, done = self._batches.batch, self._take_encoded()
        if self._waiting:
            self._batches.begin(self._waiting, done.vectors if done else {})
            self._waiting = []
        if done:
            self._write(batch, done)

    def _take_encoded(self) -> Encoded | None:
        batch = self._batches.batch
        try:
            return self._batches.take()
        except ModelError:
            # One text may have spoilt the batch: file by file, the others still get through.
            for prepared in batch:
                try:
                    self._write([prepared], self._batches.encode([prepared], {}))
                except ModelError as error:
                    self._fail(prepared.row, error)
            return None

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
        self._finish(row)

    def _prepare(self, document: Document, row: FileRow, ahead: Ahead | None) -> Prepared:
        started = time.perf_counter()
        document = replace(document, id=choose_id(self._truth, document))
        for text in (document.title, document.text):
            text.encode()  # half a surrogate pair can neither be stored nor encoded
        if ahead and ahead.chunks:
            chunks = named_after(document.id, ahead.chunks)
        else:
            chunks = chunk(document, self._encoder.count_tokens, self._settings)
        if not chunks:
            raise DocumentError(f"{document.source}: it holds no text", "Fill it, or leave it out.")
        texts = tuple(embed_text(document.title, piece.heading_path, piece.text) for piece in chunks)
        chunk_ms = round(_ms(time.perf_counter() - started) + (ahead.chunk_ms if ahead else 0.0), 1)
        row = replace(row, sha256=document.sha256, document_id=document.id, chunks=len(chunks), chunk_ms=chunk_ms)
        return Prepared(document, chunks, texts, row, ahead)

    def _write(self, batch: Batch, encoded: Encoded) -> None:
        with self._writer.together():
            written = [self._add(prepared, encoded) for prepared in batch]
        for row in written:
            self._account.chunks += row.chunks
            self._finish(row)

    def _add(self, prepared: Prepared, encoded: Encoded) -> FileRow:
        vectors = np.stack([encoded.vectors[embed_hash(text)] for text in prepared.texts])
        elsewhere_ms = prepared.ahead.encode_ms if prepared.ahead else 0.0
        encode_ms = round(encoded.chunk_ms * len(vectors) + elsewhere_ms, 1)
        row = replace(prepared.row, encode_ms=encode_ms, updated_at=now())
        return self._writer.add(prepared.document, prepared.chunks, vectors, row) or row

    def _fail(self, row: FileRow, error: FootnoteError) -> None:
        reason = error.message.removeprefix(f"{row.path}: ")
        old = self._truth.file(row.path)
        document_id = old.document_id if old else ""
        kept = self._truth.document_chunks(document_id)
        if kept:
            reason += "; the version that was indexed before still answers"
        row = replace(row, state="failed", reason=reason, remedy=error.remedy, cleaner="")
        self._record(replace(row, document_id=document_id if kept else "", chunks=len(kept)))

    def _empty(self, row: FileRow) -> None:
        """Write the line of what has no text of its own; what it may have had before answers no more."""
        if (old := self._truth.file(row.path)) and old.document_id:
            self._writer.forget(row.path)
        self._record(row)

    def _record(self, row: FileRow) -> None:
        """Write a line that no document comes with."""
        row = replace(row, updated_at=now())
        self._writer.record(row)
        self._finish(row)

    def _finish(self, row: FileRow, state: str = "") -> None:
        """Account for a file; one inside another is none of those that are counted down."""
        if INSIDE in row.path:
            self._account.leave_out(outcome_of(row, state))
            self._account.tell(row.path)
        else:
            self._account.finish(outcome_of(row, state), row.bytes)


def is_settled(truth: Truth, source: str, digest: str) -> bool:
    """Whether the ledger has a file of these bytes, or one that it moved from or is a duplicate of: it is not read."""
    row = truth.file(source)
    if row and _is_current(row, digest) and _is_whole(row, members(truth, source)):
        return True
    return bool(digest) and find_twin(truth, source, digest) is not None


def _is_whole(row: FileRow, inside: Sequence[FileRow]) -> bool:
    """Whether everything that a file held when it was read is in the ledger, and none of it failed."""
    return row.reason == holds(len(inside)) and all(each.state != "failed" for each in inside)


def _is_current(row: FileRow, digest: str) -> bool:
    return (row.state, row.sha256, row.cleaner) == ("indexed", digest, CLEANER_VERSION)


def _unexpected(source: str, error: Exception) -> DocumentError:
    reason = " ".join(str(error).split())[:200]
    return DocumentError(
        f"{source}: reading it failed unexpectedly: {type(error).__name__}: {reason}", "Report this with the file."
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
