"""What the Evaluation page asks of the runs on disk, and the runs that it begins."""

import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
import typer

from app.caller import Caller
from app.commands.eval_answers import Asking, evaluate_with
from app.commands.eval_gate import Gate
from app.rerankers import build_expander, build_reranker
from app.resident import keep_loaded
from app.resolved import retriever_settings
from app.settings import ROOT
from app.ui import rooms
from app.ui.jobs import Job, Jobs, Report
from app.ui.person import is_loopback, may, need, reader
from app.wiring import build_encoder, open_collection
from eval.compare import compare_runs
from eval.report import report_of
from eval.retrieval import evaluate_retrieval
from eval.run import Run, list_runs, load_run, owner_of, runs_folder
from eval.summary import summarise
from indexer.errors import ConfigError, DatasetError, FootnoteError

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


@cache
def warm(after_s: float = 0.0) -> None:
    """Load what tests and draws figures while the reader looks about, so that opening a run need not wait for it."""
    timer = threading.Timer(after_s, _load_plotting)
    timer.daemon = True
    timer.start()


@cache
def _load_plotting() -> None:
    import matplotlib.backends.backend_svg  # noqa: F401
    import scipy.stats  # noqa: F401

    keep_loaded()


def names() -> list[str]:
    """The runs of this home that the reader may see, newest first: their own; an admin's are all of them."""
    return [name for name in list_runs(rooms.settings().home)[::-1] if _may_see(name)]


def _may_see(name: str) -> bool:
    caller = reader()
    return caller.is_admin or (caller.id != "" and _owner(_state(name)) == caller.id)


@st.cache_resource(show_spinner=False, max_entries=2000)
def _owner(stamped: Stamped) -> str:
    return owner_of(rooms.settings().home, stamped.name)


def datasets() -> list[Path]:
    """What everybody may measure with: the sample questions, and what lies in HOME/eval/datasets."""
    shared = rooms.settings().home / "eval" / "datasets"
    return [SAMPLE, *(path for path in sorted(shared.glob("*")) if not path.name.startswith("."))]


def may_name_files() -> bool:
    """Whether the reader may name any data set of this machine."""
    return is_loopback() and may("admin")


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
    """A run that the reader may see; one of somebody else looks like one that is not there."""
    is_run = Path(name).name == name and (runs_folder(rooms.settings().home) / f"{name}.db").is_file()
    if not is_run or not _may_see(name):
        raise DatasetError(f"There is no run {name}.", "Choose one of the list.")
    return _state(name)


def _state(name: str) -> Stamped:
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
        ConfigError: a floor is not METRIC=VALUE, no such metric is known, or the collection or data set is out of
            reach.
        DatasetError: there is no such run to compare with.
    """
    caller = need("read")
    if order.collection:
        rooms.check(caller, order.collection)
    if not may_name_files() and order.dataset not in datasets():
        raise ConfigError("That data set is not open to you.", "Choose one of the list.")
    if order.baseline:
        _stamped(order.baseline)
    try:
        gate = Gate.read(rooms.settings(), order.floors, order.baseline or None)
    except typer.BadParameter as error:
        raise ConfigError(f"{error.message}.", "Write METRIC=VALUE, such as f1=0.4 or bm25.ndcg@10=0.5.") from error
    job = Job[Measured](f"Measuring {'the search' if order.kind == 'retrieval' else 'answers'} on {order.dataset.name}")
    measure = _measure_search if order.kind == "retrieval" else _measure_answers

    def work(report: Report) -> Measured:
        name = measure(order, report, caller)
        broken = tuple(gate.close(load_run(rooms.settings().home, name)))
        return Measured(name, broken if broken or gate.floors or gate.baseline else None)

    jobs().start(PLACE, job, work, caller.id)


def _measure_search(order: Order, report: Report, caller: Caller) -> str:
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
        owner=caller.id,
        access=caller.access,
        on_progress=_Told(report),
    )
    return str(measured["run"])


def _measure_answers(order: Order, report: Report, caller: Caller) -> str:
    settings = rooms.settings()
    report(0, 0, "Loading the models; a new data set is then indexed, 64 documents a step")
    served = open_collection(settings, order.collection) if order.collection else None
    asking = Asking(
        limit=order.limit,
        grader=order.grader,
        judged_metrics=order.judged_metrics,
        owner=caller.id,
        access=caller.access,
    )
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
