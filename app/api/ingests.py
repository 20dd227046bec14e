"""Uploads on their way into a collection: one at a time, each kept until it is done, whatever happens to the server."""

import json
import logging
import queue
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from app.api.errors import ApiError, refusal
from app.api.library import Library
from app.audit import Audit, local_user
from app.database import Database
from indexer.ledger import IngestReport, Progress
from indexer.store.changes import now

logger = logging.getLogger(__name__)
_RETRY_AFTER_S = 30
_JOIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Ingest:
    """One upload, and what became of its files: `report` has an entry for each when it is done."""

    id: str
    collection: str
    state: str  # waiting, running, done or failed
    files: tuple[str, ...]
    report: tuple[dict[str, Any], ...] = ()
    error: str = ""
    files_done: int = 0
    eta_s: float | None = None


class _Stopped(Exception):
    """The server ends; the ingest goes on when it starts again."""


class Ingests:
    """The line of uploads and the thread that works it off."""

    def __init__(self, database: Database, library: Library, limit: int) -> None:
        self._database, self._library, self._limit = database, library, limit
        self._audit = Audit(database)
        self._line: queue.Queue[str] = queue.Queue()
        self._progress: dict[str, Progress] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="footnote-ingest", daemon=True)

    def start(self) -> None:
        """Take up what an earlier server did not finish, and begin."""
        with self._database.connected() as db:
            rows = db.execute("SELECT id FROM ingest WHERE state IN ('waiting', 'running') ORDER BY created_at, rowid")
            for (id_,) in rows.fetchall():
                self._line.put(id_)
        self._thread.start()

    def stop(self) -> None:
        """Interrupt the ingest in hand at its next step; what it has committed stays."""
        self._stopping.set()
        self._line.put("")
        self._thread.join(_JOIN_S)

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return self._line.qsize()

    def check_room(self) -> None:
        """Refuse another upload while too many wait.

        Raises:
            ApiError: they do (503).
        """
        if self.waiting >= self._limit:
            message = "Too many uploads wait to be indexed; try again later."
            raise ApiError(503, message, code="overloaded", retry_after_s=_RETRY_AFTER_S)

    def submit(self, collection: str, paths: Sequence[Path], owner: str, groups: Sequence[str] = ()) -> Ingest:
        """Put files in line, for these groups."""
        id_ = f"ingest-{uuid4().hex}"
        named = json.dumps([str(path) for path in paths])
        row = (id_, collection, owner, named, "waiting", "{}", now(), json.dumps(groups))
        with self._database.connected() as db:
            db.execute(
                "INSERT INTO ingest (id, collection, key_id, paths, state, report, created_at, groups)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        self._line.put(id_)
        return self.get(id_)

    def get(self, id_: str, owner: str | None = None) -> Ingest:
        """How an upload fares.

        Raises:
            ApiError: there is none of that name, or not of that owner (404).
        """
        with self._database.connected() as db:
            row = db.execute(
                "SELECT collection, paths, state, report FROM ingest WHERE id = ? AND ifnull(?, key_id) = key_id",
                (id_, owner),
            ).fetchone()
        if row is None:
            raise ApiError(404, "There is no such upload.", code="not_found")
        collection, paths, state, report = row
        told, progress = json.loads(report), self._progress.get(id_)
        return Ingest(
            id_,
            collection,
            state,
            tuple(Path(path).name for path in json.loads(paths)),
            tuple(told.get("files", ())),
            told.get("error", ""),
            len(told["files"]) if "files" in told else progress.files_done if progress else 0,
            progress.eta_s if progress else None,
        )

    def _work(self) -> None:
        while not self._stopping.is_set():
            id_ = self._line.get()
            if not id_:
                return
            try:
                self._ingest(id_)
            except _Stopped:
                return
            except Exception as error:
                logger.exception("an upload failed")
                self._end(id_, "failed", {"error": refusal(error).message})
            finally:
                self._progress.pop(id_, None)

    def _ingest(self, id_: str) -> None:
        with self._database.connected() as db:
            db.execute("UPDATE ingest SET state = 'running' WHERE id = ?", (id_,))
            row = db.execute("SELECT collection, paths, groups, key_id FROM ingest WHERE id = ?", (id_,)).fetchone()
        collection, paths, groups, owner = row[0], json.loads(row[1]), json.loads(row[2]), row[3]

        def tell(progress: Progress) -> None:
            if self._stopping.is_set():
                raise _Stopped
            self._progress[id_] = progress

        told = " ".join([f"{len(paths)} files:", *(Path(path).name for path in paths)])
        with self._audit.recorded(owner or local_user(), "ingest", collection, told):
            report = self._library.ingest(collection, [Path(path) for path in paths], groups, tell)
        self._end(id_, "done", {"files": _outcomes(report)})

    def _end(self, id_: str, state: str, report: dict[str, Any]) -> None:
        with self._database.connected() as db:
            values = (state, json.dumps(report), now(), id_)
            db.execute("UPDATE ingest SET state = ?, report = ?, ended_at = ? WHERE id = ?", values)


def _outcomes(report: IngestReport) -> list[dict[str, Any]]:
    """What became of each file; its name stands for its path on the server."""
    outcomes = []
    for file in report.files:
        fields = asdict(file)
        fields["name"] = Path(fields.pop("path")).name
        outcomes.append(fields)
    return outcomes
