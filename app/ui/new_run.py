"""A run that is begun on the Evaluation page: what is measured, who judges it, and what it must reach."""

from pathlib import Path

import streamlit as st

from app.commands.options import GraderName
from app.ui import evaluations, rooms
from app.ui.beside import Beside
from app.ui.evaluations import SAMPLE, Order
from eval.claim_metrics import CLAIM_METRICS
from indexer.errors import ConfigError, FootnoteError
from retriever.request import MODES

_OWN, _NOBODY, _NO_RUN = "its own corpus", "nobody", "no run"


def offer_run(page: Beside, *, disabled: bool) -> None:
    """Draw the form; what is wrong in it is told on the page, and nothing is begun."""
    of_search = st.radio("What to measure", ("Search", "Answers"), horizontal=True, key="measured") == "Search"
    with st.form("new-run"):
        path = _choose_dataset()
        asked = st.selectbox("Asked of", (_OWN, *rooms.names()), key="asked")
        modes = st.multiselect("Modes", MODES, ["bm25"], key="modes") if of_search else []
        limit = st.number_input("Questions at most", 1, value=None, placeholder="all", key="limit")
        grader, metrics = ("", ()) if of_search else _choose_judges()
        floors, baseline = _choose_gate()
        if not st.form_submit_button("Begin", type="primary", disabled=disabled):
            return
    order = Order(
        "retrieval" if of_search else "answers",
        Path(path).expanduser(),
        "" if asked == _OWN else str(asked),
        tuple(modes),
        int(limit) if limit else None,
        grader,
        metrics,
        floors,
        baseline,
    )
    try:
        _check(order, path)
        evaluations.begin(order)
    except FootnoteError as error:
        page.failure = error
    st.rerun()


def _choose_dataset() -> str:
    if evaluations.may_name_files():
        return st.text_input("Data set: a folder or file on this machine", str(SAMPLE), key="dataset").strip()
    listed = {str(path): path.name for path in evaluations.datasets()}
    return str(st.selectbox("Data set", list(listed), format_func=lambda path: listed[path], key="listed-dataset"))


def _choose_judges() -> tuple[str, tuple[str, ...]]:
    grader = st.selectbox(
        "Graded by",
        (_NOBODY, *GraderName),
        key="grader",
        help="The model server grades each answer from 1 to 5, as `eval answers --grader` does.",
    )
    metrics = st.multiselect(
        "Judged metrics", list(CLAIM_METRICS), key="judged-metrics", help="ragas' metrics, judged by the model server."
    )
    return "" if grader == _NOBODY else str(grader), tuple(metrics)


def _choose_gate() -> tuple[tuple[str, ...], str]:
    with st.expander("What it must reach", key="fn-gate"):
        floors = st.text_input(
            "Fails below", placeholder="METRIC=VALUE; MODE.METRIC=VALUE", key="floors", help="As --fail-below."
        )
        baseline = st.selectbox(
            "No worse than",
            (_NO_RUN, *evaluations.names()),
            key="baseline",
            help="Fails where a metric is significantly worse than in that run.",
        )
    floor_list = tuple(each.strip() for each in floors.split(";") if each.strip())
    return floor_list, "" if baseline == _NO_RUN else str(baseline)


def _check(order: Order, path: str) -> None:
    if not path or not order.dataset.exists():
        raise ConfigError(f"There is no data set {path}.", "Name a folder or file of this machine.")
    if order.kind == "retrieval" and not order.modes:
        raise ConfigError("No search mode was chosen.", f"Choose from: {', '.join(MODES)}.")
