"""What the Documents page asks of a collection, and the long work on one, which every reader of the server sees."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import streamlit as st

from app.audit import Audit, local_user
from app.caller import Caller
from app.commands.ingest import ingest_into
from app.commands.upkeep import Reindexed, Wanted, reindex_as
from app.display import count
from app.progress import FINISHING
from app.ui import opened, rooms
from app.ui.jobs import Job, Jobs, Report
from app.ui.person import need
from app.ui.uploads import discard, save
from app.wiring import encoder_of, open_collection
from indexer.access import Access
from indexer.document import Chunk
from indexer.ledger import IngestReport, Progress
from indexer.load import source_of
from indexer.purge import size_on_disk
from indexer.reading import Reading
from indexer.sources import file_of
from indexer.store.index import Kind
from indexer.store.records import FileRow
from indexer.verify import Finding, verify


@dataclass(frozen=True, slots=True)
class Facts:
    """What a collection is."""

    documents: int
    chunks: int
    bytes: int | None  # on disk, with every generation; None where the reader may not read all of it
    generation: int
    encoder: str  # its name, or its fingerprint where no name was kept; empty before the first document
    dim: int
    chunk_tokens: int  # the most of a chunk; 0 before the first document
    chunk_overlap_tokens: int
    changed_at: str  # ISO 8601, UTC; empty before the first document, and as for bytes
    index: Kind = "local"
    index_place: str = ""  # where a Milvus is, without its token; empty for a local index, and as for bytes


@cache
def jobs() -> Jobs:
    """The work on collections, by their names."""
    return Jobs()


def facts(name: str) -> Facts:
    """Look at a collection."""
    reading = rooms.reading(name)
    manifest, sees_all = reading.manifest, reading.access.is_full
    index = reading.collection.generation.index
    return Facts(
        documents=len(rooms.documents(name)),
        chunks=reading.count(),
        bytes=size_on_disk(reading.collection.folder) if sees_all else None,
        generation=reading.collection.generation.number,
        encoder=(encoder_of(manifest, rooms.settings()) or manifest.fingerprint[:12]) if manifest else "",
        dim=manifest.dim if manifest else 0,
        chunk_tokens=manifest.chunk_tokens if manifest else 0,
        chunk_overlap_tokens=manifest.chunk_overlap_tokens if manifest else 0,
        changed_at=reading.collection.generation.truth.changed_at() if sees_all else "",
        index=index.kind,
        index_place=index.place if sees_all and index.kind != "local" else "",
    )


def ledger(name: str) -> tuple[FileRow, ...]:
    """Every file that was ever given to ingest, by path."""
    if not rooms.is_there(name):
        return ()
    reading = rooms.reading(name)
    truth = reading.collection.generation.truth.path
    stats = [path.stat() for path in (truth, truth.with_name(f"{truth.name}-wal")) if path.exists()]
    return _ledger(
        reading, reading.access, str(truth), tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)
    )


@st.cache_resource(show_spinner=False, max_entries=8)
def _ledger(
    _reading: Reading, access: Access, truth: str, stamps: tuple[tuple[int, int, int], ...]
) -> tuple[FileRow, ...]:
    """The ledger as of one state of its file, for one access; a refused file changes no sequence number."""
    return tuple(_reading.files())


def chunks(name: str, document_id: str) -> list[Chunk]:
    """The chunks of a document in reading order."""
    return rooms.reading(name).document_chunks(document_id)


# --- work. Each begins nothing while other work of this server is going on in the collection.


class Ingesting(Job[IngestReport]):
    """An ingest, and what it has said of each file so far: waiting, reading, done or failed."""

    def __init__(self, title: str, total: int = 0) -> None:
        super().__init__(title, total)
        self.files: dict[str, str] = {}
        self._failed = self._files_done = 0

    def __call__(self, now: Progress) -> None:
        if now.to_merge:
            self.report(now.merged, now.to_merge, FINISHING, now.eta_s)
            return
        ended = now.files_done > self._files_done
        self._files_done = now.files_done
        self.files[now.current] = ("failed" if now.failed > self._failed else "done") if ended else "reading"
        self._failed = now.failed
        doing = FINISHING if now.files_done == now.files_total else Path(now.current).name
        self.report(now.files_done, now.files_total, doing, now.eta_s)

    def wait(self, message: str) -> None:
        self.report(self.finished, self.total, message)


def upload(name: str, files: Sequence[tuple[str, bytes]]) -> None:
    """Index files that were dropped on the page; a collection of that name is made if need be."""
    caller = _worker(name)
    job = Ingesting(f"Adding {count(len(files), 'file')}", len(files))
    folder = rooms.uploads_dir(caller, name)

    def work(report: Report) -> IngestReport:
        report(0, len(files), "Saving")
        paths = save(folder, files)
        job.files = {source_of(path): "waiting" for path in paths}
        return _ingest(job, name, paths)

    jobs().start(name, job, work, caller.id)


def sync(name: str, folder: Path, *, prune: bool) -> None:
    """Bring a collection up to date with a folder on the server, as `ingest` does, with or without --prune."""
    job = Ingesting(f"Syncing {folder}")
    jobs().start(name, job, lambda report: _ingest(job, name, [folder], prune=prune), need("admin").id)


def retry(name: str) -> None:
    """Ingest the files that failed, and those alone, as `ingest --retry-failed` does."""
    caller = _worker(name)
    job = Ingesting("Retrying what failed")
    failed = [file_of(row.path) for row in ledger(name) if row.state == "failed"]  # those that the reader knows of

    def work(report: Report) -> IngestReport:
        return _ingest(job, name, failed, may_be_nothing=True) if failed else IngestReport((), 0.0, 0)

    jobs().start(name, job, work, caller.id)


def _ingest(
    job: Ingesting, name: str, paths: Sequence[Path], *, prune: bool = False, may_be_nothing: bool = False
) -> IngestReport:
    job.report(0, job.total, "Loading the encoder")
    return ingest_into(rooms.settings(), name, paths, job, prune=prune, may_be_nothing=may_be_nothing, who=job.owner)


def _worker(name: str) -> Caller:
    """The reader, who may change a collection.

    Raises:
        ConfigError: that is not so.
    """
    caller = need("ingest")
    rooms.check(caller, name)
    return caller


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a deletion removed."""

    documents: int
    files: int  # lines of the ledger


def delete(name: str, sources: Sequence[str]) -> None:
    """Remove files from a collection, uploads from the disk, too; a document goes with the last file of its content."""
    caller = _worker(name)
    known = {row.path for row in ledger(name)} | {path for info in rooms.documents(name) for path in info.sources}
    sources = [source for source in sources if source in known]
    job = Job[Deleted](f"Deleting {count(len(sources), 'file')}")

    def work(report: Report) -> Deleted:
        collection = open_collection(rooms.settings(), name)
        before = len(collection.documents())
        wait_s = rooms.settings().indexer.lock_wait_s
        with (
            Audit(opened.database()).recorded(caller.id or local_user(), "delete", name, " ".join(sources)),
            collection.writer(_waiting(report), command="delete", timeout_s=wait_s) as writer,
        ):
            writer.forget(*sources)
        discard(rooms.settings().uploads_dir / name, collection, sources)
        return Deleted(before - len(collection.documents()), len(sources))

    jobs().start(name, job, work, caller.id)


@dataclass(frozen=True, slots=True)
class Health:
    """What `verify` found."""

    documents: int
    chunks: int
    findings: tuple[Finding, ...]


def check(name: str, *, repair: bool = False) -> None:
    """Check everything that is stored, as `verify` does, and with `repair` rebuild an index that is wrong."""
    caller = need("admin")
    job = Job[Health]("Checking and repairing the collection" if repair else "Checking the collection")

    def work(report: Report) -> Health:
        def step(what: str, done: int, total: int) -> None:
            report(done, total, what)

        collection = open_collection(rooms.settings(), name)
        wait_s = rooms.settings().indexer.lock_wait_s
        findings = verify(collection, repair, on_step=step, on_wait=_waiting(report), timeout_s=wait_s)
        return Health(len(collection.documents()), collection.count(), tuple(findings))

    jobs().start(name, job, work, caller.id)


class Rebuilding(Job[Reindexed]):
    """A reindex."""

    def __call__(self, now: Progress) -> None:
        if now.to_merge:
            self.report(now.merged, now.to_merge, FINISHING, now.eta_s)
            return
        doing = "Switching" if now.files_done == now.files_total else Path(now.current).name
        self.report(now.files_done, now.files_total, f"{doing}, {count(now.chunks, 'chunk')} so far", now.eta_s)

    def wait(self, message: str) -> None:
        self.report(self.finished, self.total, message)


def rebuild(name: str, wanted: Wanted) -> None:
    """Rebuild a collection with another encoder or chunk size, as `reindex` does; it answers meanwhile."""
    caller = need("admin")
    job = Rebuilding("Reindexing")

    def work(report: Report) -> Reindexed:
        report(0, 0, "Loading the encoder")
        with Audit(opened.database()).recorded(caller.id or local_user(), "reindex", name, ""):
            return reindex_as(rooms.settings(), name, wanted, job)

    jobs().start(name, job, work, caller.id)


def _waiting(report: Report) -> Callable[[str], None]:
    return lambda message: report(0, 0, message)
