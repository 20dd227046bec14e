"""What the Evaluation page asks of the runs on disk, and the runs that it begins."""

from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
import typer

from app.commands.eval_answers import Asking, evaluate_with
from app.commands.eval_gate import Gate
from app.rerankers import build_expander, build_reranker
from app.resolved import retriever_settings
from app.settings import ROOT
from app.ui import rooms
from app.ui.jobs import Job, Jobs, Report
from app.ui.person import need
from app.wiring import build_encoder, open_collection
from eval.compare import compare_runs
from eval.report import report_of
from eval.retrieval import evaluate_retrieval
from eval.run import Run, list_runs, load_run, runs_folder
from eval.summary import summarise
from indexer.errors import ConfigError, FootnoteError

PLACE = "evaluation"  # one at a time on this server: each wants all of the machine
SAMPLE = ROOT / "data" / "questions"


@dataclass(frozen=True, slots=True)
class Stamped:
    """A run's name, and the state of its file: what is drawn from it is made again only when that changes."""

    name: str
    state: tuple[int, int]


@cache
def jobs() -> Jobs:
    """The evaluations of this server."""
    return Jobs()


def names() -> list[str]:
    """All runs of this home, newest first."""
    return list_runs(rooms.settings().home)[::-1]


def summary(name: str) -> dict[str, Any]:
    """A run's figures, as `eval runs` and the report have them.

    Raises:
        DatasetError: the file is no run of this version.
    """
    return _summary(_stamped(name))


def run(name: str) -> Run:
    """A run with everything that was recorded.

    Raises:
        DatasetError: there is none of that name, or its file is no run of this version.
    """
    return _run(_stamped(name))


def report(name: str) -> dict[str, Any]:
    """What the report of a run says, with its plots."""
    return _report(_stamped(name))


def compared(a: str, b: str) -> dict[str, Any]:
    """How run `b` differs from run `a`, as `eval compare` says it.

    Raises:
        DatasetError: they cannot be compared.
    """
    return _compared(_stamped(a), _stamped(b))


def comparable() -> dict[str, list[str]]:
    """For each run, newest first, the others of its kind on the same data; runs without any are left out."""
    groups: dict[tuple[Any, Any], list[str]] = {}
    for name in names():
        with suppress(FootnoteError):  # the list of runs says what is wrong with its file
            groups.setdefault(_data(_stamped(name)), []).append(name)
    pairs = {name: [other for other in group if other != name] for group in groups.values() for name in group}
    return {name: pairs[name] for name in names() if pairs.get(name)}


@st.cache_resource(show_spinner=False, max_entries=500)
def _data(stamped: Stamped) -> tuple[Any, Any]:
    facts = _run(stamped).facts
    return facts.get("kind"), facts.get("dataset_sha256")


def _stamped(name: str) -> Stamped:
    path = runs_folder(rooms.settings().home) / f"{name}.db"
    try:
        stat = path.stat()
    except OSError:
        return Stamped(name, (0, 0))
    return Stamped(name, (stat.st_mtime_ns, stat.st_size))


@st.cache_resource(show_spinner=False, max_entries=6)
def _run(stamped: Stamped) -> Run:
    return load_run(rooms.settings().home, stamped.name)


@st.cache_resource(show_spinner=False, max_entries=500)
def _summary(stamped: Stamped) -> dict[str, Any]:
    return summarise(_run(stamped))


@st.cache_resource(show_spinner=False, max_entries=16)
def _report(stamped: Stamped) -> dict[str, Any]:
    return report_of(_run(stamped), plotted=True)


@st.cache_resource(show_spinner=False, max_entries=16)
def _compared(a: Stamped, b: Stamped) -> dict[str, Any]:
    return compare_runs(_run(a), _run(b))


# --- a run that is begun here


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be measured."""

    kind: str  # retrieval or answers
    dataset: Path
    collection: str = ""  # empty: the data set's own corpus
    modes: tuple[str, ...] = ()
    limit: int | None = None
    grader: str = ""  # who grades answers; empty: nobody
    judged_metrics: tuple[str, ...] = ()
    floors: tuple[str, ...] = ()  # METRIC=VALUE
    baseline: str = ""  # a run that it must not fall behind


@dataclass(frozen=True, slots=True)
class Measured:
    """A run that has ended, and what of its gate does not hold; None where it had none."""

    run: str
    broken: tuple[str, ...] | None


def begin(order: Order) -> None:
    """Begin a run in a thread of the server, unless one is going on; a cut-off run of the same goes on.

    Raises:
        ConfigError: a floor is not METRIC=VALUE, or no such metric is known.
        DatasetError: there is no such run to compare with.
    """
    try:
        gate = Gate.read(rooms.settings(), order.floors, order.baseline or None)
    except typer.BadParameter as error:
        raise ConfigError(f"{error.message}.", "Write METRIC=VALUE, such as f1=0.4 or bm25.ndcg@10=0.5.") from error
    job = Job[Measured](f"Measuring {'the search' if order.kind == 'retrieval' else 'answers'} on {order.dataset.name}")
    measure = _measure_search if order.kind == "retrieval" else _measure_answers

    def work(report: Report) -> Measured:
        name = measure(order, report)
        broken = tuple(gate.close(run(name)))
        return Measured(name, broken if broken or gate.floors or gate.baseline else None)

    jobs().start(PLACE, job, work, need("admin").id)


def _measure_search(order: Order, report: Report) -> str:
    settings = rooms.settings()
    report(0, 0, "Loading the encoder; a new data set is then indexed, 64 documents a step")
    reranker, expander = build_reranker(settings) if settings.retriever.rerank else None, build_expander(settings)
    encoder = build_encoder(settings) if any(mode != "bm25" for mode in order.modes) else None
    measured = evaluate_retrieval(
        order.dataset,
        order.modes,
        encoder,
        settings.home,
        retriever_settings(settings),
        reranker=reranker,
        expander=expander,
        served=open_collection(settings, order.collection) if order.collection else None,
        limit=order.limit,
        on_progress=_Told(report),
    )
    return str(measured["run"])


def _measure_answers(order: Order, report: Report) -> str:
    settings = rooms.settings()
    report(0, 0, "Loading the models; a new data set is then indexed, 64 documents a step")
    served = open_collection(settings, order.collection) if order.collection else None
    asking = Asking(limit=order.limit, grader=order.grader, judged_metrics=order.judged_metrics)
    made, _ = evaluate_with(settings, order.dataset, served, asking, _Told(report))
    return made.id


@dataclass(frozen=True, slots=True)
class _Told:
    """A meter that tells a job."""

    report: Report

    def __call__(self, doing: str, done: int, total: int, left_s: float | None = None, figures: str = "") -> None:
        told = "indexing the documents" if doing == "index" else doing
        self.report(done, total, ", ".join(filter(None, (told, figures))), left_s)


def unreadable(name: str) -> FootnoteError | None:
    """Why a run's file cannot be read; None where it can."""
    try:
        summary(name)
    except FootnoteError as error:
        return error
    return None
