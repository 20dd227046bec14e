"""An evaluation run on disk: one SQLite file that gets every outcome as it happens.

A run is named by what decides its outcomes (data, settings, models), so that the command that was killed finds its
unfinished run again and goes on with the cases that are missing or failed.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from filelock import FileLock, Timeout

from eval.dataset import Case
from eval.run_file import LAYOUT, as_text, begin_file, circumstances, free_path, key_of, now, read_cases
from generator.usage import Usage
from indexer.access import Access
from indexer.errors import ConfigError, DatasetError, FootnoteError

WASTED = "wasted"  # the fact that holds what failed calls of judges took
Scores = Mapping[str, Mapping[str, Mapping[str, float]]]  # variant -> metric -> case id -> value


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one case: an outcome, or an error's type and message. Times are kept apart: they never repeat."""

    case_id: str
    position: int  # of the case in the data set
    variant: str = ""  # the search mode of a retrieval run
    outcome: Mapping[str, Any] | None = None
    error: str = ""
    message: str = ""
    timings_ms: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    wasted: Usage = field(default_factory=Usage)  # by calls that failed; the run keeps the sum alone


def failed_record(
    case_id: str, position: int, error: FootnoteError, variant: str = "", wasted: Usage | None = None
) -> Record:
    """What is kept of a case that failed."""
    return Record(case_id, position, variant, error=error.kind, message=error.message, wasted=wasted or Usage())


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it was stored. `facts` hold id, kind, dataset, settings, versions, begun, finished and the like."""

    path: Path
    facts: Mapping[str, Any]
    cases: Mapping[str, Case]  # as they were asked, in the data set's order
    records: tuple[Record, ...]
    scores: Scores

    @property
    def id(self) -> str:
        """The run's name."""
        return str(self.facts["id"])


class RunWriter:
    """An unfinished run that takes records."""

    def __init__(self, connection: sqlite3.Connection, path: Path, resumed: bool) -> None:
        self._connection = connection
        self.path = path
        self.resumed = resumed

    def done(self) -> set[tuple[str, str]]:
        """(variant, case id) of what has an outcome; what failed is to be tried again."""
        rows = self._connection.execute("SELECT variant, case_id FROM record WHERE error IS NULL")
        return {(variant, case) for variant, case in rows}

    def add(self, *records: Record) -> None:
        """Record outcomes in one transaction."""
        rows = [
            (
                r.variant,
                r.position,
                r.case_id,
                as_text(r.outcome),
                r.error or None,
                r.message or None,
                as_text(r.timings_ms),
            )
            for r in records
        ]
        wasted = sum((r.wasted for r in records), Usage())
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            if wasted.calls:
                told = (Usage(**_facts(self._connection).get(WASTED, {})) + wasted).as_json()
                self._connection.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (WASTED, as_text(told)))

    def records(self) -> tuple[Record, ...]:
        """Everything recorded, in the data set's order."""
        return _records(self._connection)

    def note(self, name: str, value: Any) -> None:
        """Store a fact that is known only now, or anew."""
        with self._connection:
            self._connection.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, as_text(value)))

    def finish(self, scores: Scores, *, complete: bool = True) -> None:
        """Store the scores, and close the run for good unless a case failed or it is not `complete` otherwise."""
        rows = [
            (variant, metric, case, value)
            for variant, metrics in scores.items()
            for metric, values in metrics.items()
            for case, value in values.items()
        ]
        with self._connection:
            self._connection.execute("DELETE FROM score")
            self._connection.executemany("INSERT INTO score VALUES (?, ?, ?, ?)", rows)
            failed = self._connection.execute("SELECT 1 FROM record WHERE error IS NOT NULL").fetchone()
            if complete and not failed:
                self._connection.execute("INSERT INTO fact VALUES ('finished', ?)", (as_text(now()),))


def runs_folder(home: Path) -> Path:
    """Where runs are kept."""
    return home / "eval" / "runs"


@contextmanager
def writing(
    folder: Path, identity: Mapping[str, Any], facts: Mapping[str, Any], cases: Sequence[Case]
) -> Iterator[RunWriter]:
    """Go on with the unfinished run of this `identity`, or begin one.

    `identity` is everything that decides the outcomes; `facts` are stored beside it for whoever reads the run, and so
    are the `cases`: a run can be read without its data set.

    Raises:
        ConfigError: another process is writing the same run.
    """
    key = key_of(identity)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / f".{key}.lock", timeout=0):
            path = next((path for path in sorted(folder.glob(f"*-{key}.db")) if not _finished(path)), None)
            resumed = path is not None
            if path is None:
                path = free_path(folder, f"{identity['kind']}-{identity['dataset']}-{key}")
                begin_file(path, {"id": path.stem, "layout": LAYOUT, **identity, **facts, **circumstances()}, cases)
            connection = sqlite3.connect(path)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                yield RunWriter(connection, path, resumed)
            finally:
                connection.execute("PRAGMA journal_mode = DELETE")  # one file, which may be copied as it is
                connection.close()
    except Timeout as error:
        raise ConfigError(
            "The same evaluation is running in another process.", "Wait for it; this command then shows its result."
        ) from error


def finished_run(home: Path, identity: Mapping[str, Any]) -> Path | None:
    """The newest finished run of this identity."""
    found = sorted(runs_folder(home).glob(f"*-{key_of(identity)}.db"))
    return next((path for path in reversed(found) if _finished(path)), None)


def list_runs(home: Path) -> list[str]:
    """Names of all runs, oldest first."""
    return sorted(path.stem for path in runs_folder(home).glob("*.db"))


def list_facts(home: Path, kind: str) -> list[Mapping[str, Any]]:
    """Facts of all runs of a kind, oldest first, without their cases."""
    found = []
    for path in sorted(runs_folder(home).glob(f"*-{kind}-*.db")):
        try:
            with closing(_open(path)) as connection:
                found.append(_facts(connection))
        except sqlite3.Error as error:
            raise _no_run(path, error) from error
    return [facts for facts in found if facts.get("kind") == kind]


def whose(owner: str, access: Access) -> dict[str, Any]:
    """What else names a run that is somebody's: nobody else goes on with it, and other groups make another."""
    if not owner:
        return {}
    return {"owner": owner, "groups": None if access.groups is None else sorted(access.groups)}


def owner_of(home: Path, name: str) -> str:
    """Whose a run is; empty for one of the command line, or whose file cannot be read."""
    try:
        with closing(_open(runs_folder(home) / f"{name}.db")) as connection:
            return str(_facts(connection).get("owner", ""))
    except (sqlite3.Error, ValueError):
        return ""


def load_run(home: Path, name: str) -> Run:
    """Read a run by its file, by its name, or by what its name alone begins or ends with; "last" is the newest.

    Raises:
        DatasetError: there is none, there are several, or the file is no run of this version.
    """
    path = _find(home, name)
    try:
        with closing(_open(path)) as connection:
            facts = _facts(connection)
            if facts.get("layout") != LAYOUT:
                raise DatasetError(f"{path} was written by another version of Footnote.", "Run the evaluation again.")
            scores: dict[str, dict[str, dict[str, float]]] = {}
            ordered = (
                "SELECT variant, metric, score.case_id, value FROM score JOIN record USING (variant, case_id)"
                " ORDER BY position"
            )
            for variant, metric, case, value in connection.execute(ordered):
                scores.setdefault(variant, {}).setdefault(metric, {})[case] = value
            return Run(path, MappingProxyType(facts), read_cases(connection), _records(connection), scores)
    except sqlite3.Error as error:
        raise _no_run(path, error) from error


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def _facts(connection: sqlite3.Connection) -> dict[str, Any]:
    return {row[0]: json.loads(row[1]) for row in connection.execute("SELECT name, value FROM fact")}


def _no_run(path: Path, error: sqlite3.Error) -> DatasetError:
    return DatasetError(f"{path} is no evaluation run: {error}", "Name a file under HOME/eval/runs.")


def _find(home: Path, name: str) -> Path:
    if name.endswith(".db") and Path(name).is_file():
        return Path(name)
    names = list_runs(home)
    remedy = f"`footnote eval runs` lists them: {', '.join(names[-3:])}." if names else "Run `footnote eval` first."
    if name == "last" and names:
        return runs_folder(home) / f"{names[-1]}.db"
    found = [known for known in names if known == name] or [
        known for known in names if name and (known.startswith(name) or known.endswith(name))
    ]
    if len(found) != 1:
        what = f"{len(found)} runs are called {name}" if found else f"There is no run {name}"
        raise DatasetError(f"{what}.", remedy)
    return runs_folder(home) / f"{found[0]}.db"


def _finished(path: Path) -> bool:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT 1 FROM fact WHERE name = 'finished'").fetchone() is not None
    except sqlite3.Error:
        return True  # not ours to go on with
    finally:
        connection.close()


def _records(connection: sqlite3.Connection) -> tuple[Record, ...]:
    columns = "case_id, position, variant, outcome, error, message, timings_ms"
    rows = connection.execute(f"SELECT {columns} FROM record ORDER BY variant, position")
    return tuple(
        Record(case, place, variant, json.loads(outcome), error or "", message or "", json.loads(timings))
        for case, place, variant, outcome, error, message, timings in rows
    )
