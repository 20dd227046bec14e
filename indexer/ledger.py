"""What becomes of files: the account of one run, and which document a file has to do with."""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import PurePath

from indexer.clean import CLEANER_VERSION
from indexer.document import INSIDE, Document
from indexer.sources import is_gone, path_of
from indexer.store.merging import MergePace
from indexer.store.records import FileRow
from indexer.store.rules import restricting
from indexer.store.truth import Truth

STATES = ("indexed", "unchanged", "skipped", "failed", "pruned")  # each file of a run is in one
CHANGES = ("new", "changed", "moved", "duplicate")  # what an indexed file was to the collection


_HOLDS = "It holds"  # how the ledger's reason begins for what holds other files


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
    merged: int = 0  # chunks that are in the graph of the dense index, while that is made
    to_merge: int = 0  # of so many; 0 while files are read


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one file in one run."""

    path: str
    state: str  # one of STATES
    reason: str = ""
    remedy: str = ""
    document_id: str = ""
    chunks: int = 0
    bytes: int = 0
    change: str = ""  # one of CHANGES, or unchanged; empty for what was not read
    load_ms: float = 0.0
    chunk_ms: float = 0.0
    encode_ms: float = 0.0
    index_ms: float = 0.0


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

    def indexed_as(self, change: str) -> int:
        """Return how many of the indexed files were new, changed, moved or duplicate."""
        return sum((file.state, file.change) == ("indexed", change) for file in self.files)


class Account:
    """Keeps count while a run goes on: what became of each file, and how far it is."""

    def __init__(self, files_total: int, bytes_total: int, on_progress: OnProgress | None) -> None:
        self._files_total, self._bytes_left, self._on_progress = files_total, bytes_total, on_progress
        self._began, self._telling = time.monotonic(), threading.Lock()
        self._files_done = self._failed = self._bytes_encoded = 0
        self._merge = MergePace()
        self.outcomes: list[FileOutcome] = []
        self.chunks = self.tokens = self.truncated = 0

    def leave_out(self, outcome: FileOutcome) -> None:
        """Count something that is not one of the files to be read."""
        self._failed += outcome.state == "failed"
        self.outcomes.append(outcome)

    def finish(self, outcome: FileOutcome, size_bytes: int) -> None:
        """Count a file whose end is known."""
        self._files_done += 1
        self._bytes_left -= size_bytes
        self.leave_out(outcome)
        self.tell(outcome.path)

    def encoded(self, size_bytes: int, token_counts: Sequence[int], max_tokens: int) -> None:
        """Count what the encoder has read: its bytes in the files, and the tokens of each text."""
        self._bytes_encoded += size_bytes
        self.tokens += sum(token_counts)
        self.truncated += sum(tokens > max_tokens for tokens in token_counts)

    def tell(self, current: str, bytes_in_hand: int = 0, tokens_in_hand: int = 0) -> None:
        """Report progress; what is in hand is being encoded and not counted yet."""
        if self._on_progress is None:
            return
        elapsed_s, encoded = time.monotonic() - self._began, self._bytes_encoded + bytes_in_hand
        eta_s = elapsed_s / encoded * max(0, self._bytes_left - bytes_in_hand) if encoded else None
        done = (self._files_done, self._files_total, self.chunks, self.tokens + tokens_in_hand, self._failed)
        with self._telling:  # files are counted in one thread, and encoded in another
            self._on_progress(Progress(*done, elapsed_s, eta_s, current))

    def merging(self, merged: int, to_merge: int) -> None:
        """Report how far the dense index is; its time left is from its own pace."""
        if self._on_progress is None:
            return
        elapsed_s = time.monotonic() - self._began
        eta_s = self._merge.left_s(merged, to_merge)
        done = (self._files_done, self._files_total, self.chunks, self.tokens, self._failed)
        with self._telling:
            self._on_progress(Progress(*done, elapsed_s, eta_s, "", merged, to_merge))

    def report(self) -> IngestReport:
        """Sum up the run."""
        return IngestReport(tuple(self.outcomes), time.monotonic() - self._began, self.tokens, self.truncated)


def outcome_of(row: FileRow, state: str = "") -> FileOutcome:
    """Say of one run what the ledger's line says; with `state`, something else became of the file in this run."""
    if state == "unchanged":  # it cost nothing this time
        return FileOutcome(row.path, state, "", "", row.document_id, row.chunks, row.bytes, state)
    named = (row.path, state or row.state, row.reason, row.remedy, row.document_id, row.chunks, row.bytes, row.change)
    return FileOutcome(*named, row.load_ms, row.chunk_ms, row.encode_ms, row.index_ms)


def holds(files: int) -> str:
    """What the ledger says of a file that holds others: a number that no longer fits asks for reading it again."""
    return f"{_HOLDS} {files} {'file' if files == 1 else 'files'}" if files else ""


def holding(rows: Iterable[FileRow]) -> set[str]:
    """The sources that hold others, as archives and mails do."""
    return {row.path for row in rows if row.reason.startswith(_HOLDS)}


def members(truth: Truth, source: str) -> list[FileRow]:
    """The ledger's lines on what a file holds, and none on a folder beside it that is named like it with a ! behind."""
    row = truth.file(source)
    if row and row.state == "indexed" and not row.reason:
        return []
    return [each for each in truth.files_inside(source) if not os.path.lexists(path_of(each.path))]


def find_twin(truth: Truth, source: str, sha256: str) -> FileRow | None:
    """Find an indexed file of the same bytes and ending, rather one that is gone: then this one is where it went.

    The ending counts because it decides how bytes are read: a.txt is not what the same a.md is. What holds further
    files is read for itself, and so is what lies in it.
    """
    twins = [
        row
        for row in truth.same_content(sha256)
        if row.path != source
        and row.document_id
        and not row.reason
        and INSIDE not in row.path
        and row.cleaner == CLEANER_VERSION
        and PurePath(row.path).suffix.lower() == PurePath(source).suffix.lower()
    ]
    if twins:  # who may read the one and not the other must not find both in one document
        rules = truth.rules()
        own = set(restricting(rules, source).values())
        twins = [row for row in twins if is_gone(row.path) or set(restricting(rules, row.path).values()) == own]
    return min(twins, key=lambda row: not is_gone(row.path), default=None)


def choose_id(truth: Truth, document: Document) -> str:
    """Choose the id under which a source's content is stored.

    It stays that of the document which the source has for itself. Else it is the document's own id, unless that is in
    use: a file that moved took its id along, and a shared document stays with the others.
    """
    row = truth.file(document.source)
    numbered = (
        hashlib.sha256(f"{document.source}\0{number}".encode()).hexdigest()[: len(document.id)] for number in count(1)
    )
    present = [row.document_id] if row and truth.sources_of(row.document_id) == [document.source] else []
    ids = chain(present, [document.id], numbered)
    return next(id_ for id_ in ids if _is_free(truth.sources_of(id_), document.source))


def _is_free(sources: Sequence[str], source: str) -> bool:
    return not sources or sources == [source]
