"""The file of an evaluation run: its tables, how values are written into them, and how its cases are read again."""

import hashlib
import json
import platform
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from eval.dataset import Case, Span

LAYOUT = 1
_SCHEMA = """
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE asked (
    case_id TEXT PRIMARY KEY, position INTEGER NOT NULL, question TEXT NOT NULL, facts TEXT NOT NULL
) STRICT;
CREATE TABLE record (
    variant TEXT NOT NULL, position INTEGER NOT NULL, case_id TEXT NOT NULL,
    outcome TEXT, error TEXT, message TEXT, timings_ms TEXT NOT NULL,
    PRIMARY KEY (variant, case_id)
) STRICT;
CREATE TABLE score (
    variant TEXT NOT NULL, metric TEXT NOT NULL, case_id TEXT NOT NULL, value REAL NOT NULL,
    PRIMARY KEY (variant, metric, case_id)
) STRICT;
"""
_PACKAGES = ("footnote", "torch", "transformers", "faiss-cpu", "faiss-gpu", "tantivy", "openai", "ir_measures", "numpy")


def begin_file(path: Path, facts: Mapping[str, Any], cases: Sequence[Case]) -> None:
    """Write a new run with its facts and questions; the file is there whole or not at all."""
    scratch = path.with_suffix(".part")
    scratch.unlink(missing_ok=True)
    connection = sqlite3.connect(scratch)
    try:
        with connection:
            connection.executescript(_SCHEMA)
            connection.executemany("INSERT INTO fact VALUES (?, ?)", [(name, as_text(v)) for name, v in facts.items()])
            rows = [(case.id, place, case.question, as_text(_case_facts(case))) for place, case in enumerate(cases)]
            connection.executemany("INSERT INTO asked VALUES (?, ?, ?, ?)", rows)
    finally:
        connection.close()
    scratch.replace(path)


def read_cases(connection: sqlite3.Connection) -> dict[str, Case]:
    """The cases as they were asked, in the data set's order, by id."""
    cases = {}
    for id_, question, text in connection.execute("SELECT case_id, question, facts FROM asked ORDER BY position"):
        facts = json.loads(text)
        relevant = MappingProxyType(facts["relevant"])
        answers, turns = tuple(facts["answers"]), tuple((asked, said) for asked, said in facts["turns"])
        spans = tuple(Span(*span) for span in facts["spans"])
        cases[id_] = Case(id_, question, relevant, answers, facts["answerable"], turns, spans)
    return cases


def _case_facts(case: Case) -> dict[str, Any]:
    return {
        "relevant": dict(case.relevant),
        "answers": case.answers,
        "answerable": case.answerable,
        "turns": case.turns,
        "spans": [[span.entry, span.start, span.end] for span in case.spans],
    }


def circumstances() -> dict[str, Any]:
    """When a run begins, and the versions of what it runs on."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"begun": now(), "versions": {"python": platform.python_version(), **found}}


def key_of(identity: Mapping[str, Any]) -> str:
    """Names everything that decides the outcomes."""
    return hashlib.sha256(as_text(identity).encode()).hexdigest()[:12]


def as_text(value: Any) -> str:
    """JSON that is equal for equal values.

    Raises:
        ValueError: it holds a number that is none.
    """
    if isinstance(value, Mapping):
        value = dict(value)
    return json.dumps(value, ensure_ascii=True, sort_keys=True, allow_nan=False)


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def free_path(folder: Path, name: str) -> Path:
    """A new file's name, which begins with the time to the millisecond: names sort by age."""
    while True:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S%f")[:-3]
        if not (path := folder / f"{stamp}-{name}.db").exists():
            return path
