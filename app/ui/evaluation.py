"""The Evaluation page: the runs of this home, one of them, two against each other, and a new one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app.ui import evaluations
from app.ui.beside import Beside, sheet_html
from app.ui.case import question_html, record_html
from app.ui.evaluations import PLACE
from app.ui.footnotes import listen
from app.ui.gold import show_gold
from app.ui.ledger import PAGE_ROWS
from app.ui.markup import escaped
from app.ui.new_run import offer_run
from app.ui.person import may, need
from app.ui.runs import (
    cases_html,
    comparison_html,
    facts_html,
    metrics_html,
    moved_html,
    plot_html,
    runs_html,
    slices_html,
)
from app.ui.views import error_html
from app.ui.working import follow, status_told, tell_end
from eval.report import Part
from eval.run import Record, Run
from indexer.errors import FootnoteError

_RUNS_A_PAGE = 25
VIEWS = ("Runs", "Compare", "New run", "Gold cases")
_ALL = "All runs"


@dataclass(slots=True)
class Examining(Beside):
    """What one browser tab looks at: "k.<variant>.<case>" of one run, "m.<pair>.<case>" of two, "r.<run>" a run."""

    def open(self, reference: str) -> None:
        if reference.startswith("r."):
            st.session_state.run, st.session_state.view = reference[2:], VIEWS[0]
            self.close()
        else:
            super(Examining, self).open(reference)


def show_evaluation() -> None:
    """Draw the page from the runs on disk and the one that this server makes."""
    examining = st.session_state.setdefault("examining", Examining())
    assert isinstance(examining, Examining)
    try:
        need("read")
        st.html('<div class="fn-top"><h1>Evaluation</h1></div>')
        with st.container(key="fn-work"):
            if examining.failure:
                st.html(error_html(examining.failure))
                examining.failure = None
            running = follow(evaluations.jobs(), PLACE)
            tell_end(evaluations.jobs(), PLACE)
        job = evaluations.jobs().last(PLACE)
        listen(examining, status_told(job) if job else "")
        view = st.segmented_control(
            "View",
            VIEWS if may("admin") else VIEWS[:-1],
            default=None if "view" in st.session_state else VIEWS[0],
            required=True,
            key="view",
            label_visibility="collapsed",
            bind="query-params",
        )
        if view == "Compare":
            _show_compare(examining)
        elif view == "New run":
            offer_run(examining, disabled=running)
        elif view == "Gold cases" and may("admin"):  # they are of everybody's conversations
            show_gold(examining)
        else:
            _show_runs(examining)
        evaluations.warm()
    except FootnoteError as error:
        st.html(error_html(error))


def _show_runs(examining: Examining) -> None:
    names = evaluations.names()
    if not names:
        st.html('<p class="fn-abstained">No runs yet. Begin one under New run.</p>')
        return
    chosen = st.selectbox("Run", (_ALL, *names), key="run", bind="query-params", on_change=examining.close)
    if chosen != _ALL:
        _show_run(examining, str(chosen))
        return
    number = 1
    if (last := -(-len(names) // _RUNS_A_PAGE)) > 1:
        number = int(st.number_input(f"Page of {last}", 1, last, width=140))
    shown = names[(number - 1) * _RUNS_A_PAGE : number * _RUNS_A_PAGE]
    st.html(runs_html([(name, evaluations.unreadable(name) or evaluations.summary(name)) for name in shown]))


def _show_run(examining: Examining, name: str) -> None:
    run, summary = evaluations.run(name), evaluations.summary(name)
    with st.spinner("Drawing"):
        report = evaluations.report(name)
    st.html(facts_html(run, summary, report["warning"]))
    for plot in report["shared"]:
        st.html(plot_html(plot))
    parts: Sequence[Part] = report["parts"]
    for number, part in enumerate(parts):
        _show_part(run, part, number)
    if report["failed"]:
        st.subheader("Failed")
        st.html("".join(_failed_html(run, record) for record in report["failed"][:PAGE_ROWS]))
    kind, _, rest = examining.opened.partition(".")
    place, _, case_id = rest.partition(".")
    if kind == "k" and place.isdecimal() and int(place) < len(parts) and case_id in run.cases:
        variant = parts[int(place)].variant
        _show_case(examining, case_id, [(run, variant, variant)])


def _show_part(run: Run, part: Part, number: int) -> None:
    st.subheader(part.variant or "Answers")
    st.html(metrics_html(part.metrics))
    with st.expander("Plots", expanded=True, key=f"plots-{number}"):
        st.html("".join(map(plot_html, part.plots)) or "<p>There is nothing to draw.</p>")
    if part.slices:
        with st.expander(f"{part.main} by kind of question", key=f"slices-{number}"):
            st.html(slices_html(part))
    values = run.scores.get(part.variant, {}).get(part.main, {})
    if values:
        listed = sorted(values.items(), key=lambda item: (item[1], item[0]))
        with st.expander(f"Cases, the worst by {part.main} first", expanded=True, key=f"cases-{number}"):
            st.html(cases_html(run, _page(listed, f"worst-{number}"), part.main, number))


def _page(listed: Sequence[Any], key: str) -> Sequence[Any]:
    """A page of what is listed, chosen where there are several."""
    last = max(1, -(-len(listed) // PAGE_ROWS))
    number = int(st.number_input(f"Page of {last}", 1, last, key=key, width=140)) if last > 1 else 1
    return listed[(number - 1) * PAGE_ROWS : number * PAGE_ROWS]


def _failed_html(run: Run, record: Record) -> str:
    question = escaped(run.cases[record.case_id].question)
    told = escaped(f"{record.error}: {record.message}")
    return f'<p dir="auto">{question}<br><span class="fn-beware">{told}</span></p>'


def _show_case(examining: Examining, case_id: str, sides: Sequence[tuple[Run, str, str]]) -> None:
    """One case beside the page, in one run or in two; a side is a run, its variant, and what it is called."""
    with st.container(key="fn-source", gap="small"):
        st.button("Close", key="fn-close", icon=":material/close:", type="tertiary", on_click=examining.close)
        case = sides[0][0].cases[case_id]
        body = ""
        for run, variant, title in sides:
            found = next((r for r in run.records if (r.case_id, r.variant) == (case_id, variant)), None)
            scores = {name: by[case_id] for name, by in run.scores.get(variant, {}).items() if case_id in by}
            body += record_html(case, found, scores, title)
        st.html(sheet_html(examining.opened, question_html(case), body, "Case"))


def _show_compare(examining: Examining) -> None:
    pairs_of = evaluations.comparable()
    if not pairs_of:
        st.html('<p class="fn-abstained">A comparison needs two runs of one kind on the same data.</p>')
        return
    left, right = st.columns(2)
    b = str(right.selectbox("B", list(pairs_of), key="b", bind="query-params", on_change=examining.close))
    a = str(left.selectbox("A", pairs_of[b], key="a", bind="query-params", on_change=examining.close))
    comparisons = evaluations.compared(a, b)["comparisons"]
    pairs = [" against ".join(dict.fromkeys(filter(None, c["variants"]))) for c in comparisons]
    place = 0
    if len(pairs) > 1:
        place = pairs.index(str(st.selectbox("Variant", pairs, key="pair")))
    comparison = comparisons[place]
    st.html(comparison_html(comparison["metrics"]))
    st.html(
        '<p class="fn-meta">Wins are cases where B is better. p is of a paired randomisation test, of McNemar\'s where '
        "values are 0 or 1, after Holm's correction.</p>"
    )
    if comparison["unlike"]:
        told = ", ".join(comparison["unlike"])
        st.html(f'<p class="fn-meta">Not compared, as another judge or encoder gave them: {escaped(told)}.</p>')
    metric = str(st.selectbox("Case by case", list(comparison["metrics"]), key="metric"))
    run_a, run_b = evaluations.run(a), evaluations.run(b)
    variants = comparison["variants"]
    listed = paired(run_a.scores[variants[0]][metric], run_b.scores[variants[1]][metric])
    st.html(moved_html(run_a, _page(listed, "moved"), place))
    kind, _, rest = examining.opened.partition(".")
    at, _, case_id = rest.partition(".")
    if kind == "m" and at == str(place) and case_id in run_a.cases:
        _show_case(examining, case_id, [(run_a, variants[0], f"A: {a}"), (run_b, variants[1], f"B: {b}")])


def paired(a: Mapping[str, float], b: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """(case, value in A, value in B) of the cases that both have, those that moved most first."""
    return sorted(((id_, a[id_], b[id_]) for id_ in a if id_ in b), key=lambda each: (-abs(each[2] - each[1]), each[0]))
