"""The page on which people accept, edit and reject written questions. Every decision is on disk before the next one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import streamlit as st

from app.ui import rooms
from app.ui.candidate import candidate_html
from app.ui.markup import escaped
from app.ui.panel import shown_path
from app.ui.views import error_html
from eval.synthesis.candidate import Candidate
from eval.synthesis.question_set import Decision, QuestionSet, Verdict, decide, load_questions, use_only_accepted
from indexer.errors import FootnoteError

SHOWN = {"undecided": "To review", "accepted": "Accepted", "rejected": "Rejected", "": "All"}


@dataclass(slots=True)
class Reviewing:
    """Where one browser tab is in a folder of questions."""

    passed: list[str] = field(default_factory=list)  # skipped or decided here: shown after all others
    decided: list[tuple[str, Decision | None]] = field(default_factory=list)  # here, with what was decided before
    editing: str = ""
    failure: FootnoteError | None = None


def show_review() -> None:
    """Draw the page."""
    try:
        folders = rooms.question_folders()
        if not folders:
            st.html(_NONE)
            return
        folder = _choose(folders)
        questions = load_questions(folder)
    except FootnoteError as error:
        st.html(error_html(error))
        return
    reviewing = _reviewing(folder)
    st.html(_head_html(questions))
    if reviewing.failure:
        st.html(error_html(reviewing.failure))
    shown = _choose_shown(questions)
    queue = in_turn(questions, shown, reviewing.passed)
    if not queue:
        told = "Nothing is left here." if questions.candidates else "No question passed the filters yet."
        st.html(f'<p class="fn-abstained" role="status">{told}</p>')
        _offer_undo(folder, reviewing)
        return
    _show_candidate(questions, queue[0], reviewing)


def in_turn(questions: QuestionSet, shown: str, passed: Sequence[str]) -> list[Candidate]:
    """The candidates with a verdict, or all; those that were passed over come last, the latest at the end."""
    wanted = [candidate for candidate in questions.candidates if shown in ("", questions.verdict(candidate.id))]
    return sorted(wanted, key=lambda candidate: passed.index(candidate.id) + 1 if candidate.id in passed else 0)


def _choose(folders: Sequence[Path]) -> Path:
    with st.sidebar:
        return st.selectbox("Questions", folders, format_func=lambda folder: folder.name)


def _reviewing(folder: Path) -> Reviewing:
    kept = st.session_state.setdefault("reviewing", {})
    found = kept.setdefault(folder, Reviewing())
    assert isinstance(found, Reviewing)
    return found


def _choose_shown(questions: QuestionSet) -> str:
    with st.sidebar:
        shown = st.radio("Show", SHOWN, format_func=lambda verdict: SHOWN[verdict], key="shown")
        only = st.checkbox(
            "Use accepted questions only",
            value=questions.accepted_only,
            key=f"only-{questions.folder}",
            help="Otherwise a question is in the set until it is rejected.",
        )
        if only != questions.accepted_only:
            use_only_accepted(questions.folder, only)
            st.rerun()
    return str(shown)


def _show_candidate(questions: QuestionSet, candidate: Candidate, reviewing: Reviewing) -> None:
    worded = questions.edited(candidate)
    if reviewing.editing == candidate.id:
        _edit(questions.folder, worded, reviewing)
    else:
        _offer_verdicts(questions.folder, candidate.id, reviewing)
    st.html(candidate_html(worded, questions.verdict(candidate.id), questions.provenance[candidate.id]))


def _offer_verdicts(folder: Path, id_: str, reviewing: Reviewing) -> None:
    """The buttons, and a key for each: the same in place and order for every question."""
    with st.container(key="fn-verdicts", horizontal=True, gap="small"):
        for name, key, icon, verdict in (
            ("Accept", "a", ":material/check:", "accepted"),
            ("Reject", "x", ":material/close:", "rejected"),
        ):
            given = (folder, id_, verdict, reviewing)
            st.button(name, key=f"{name}-{id_}", icon=icon, shortcut=key, on_click=_decide, args=given)
        args = (id_, reviewing)
        st.button("Edit", key=f"edit-{id_}", icon=":material/edit:", shortcut="e", on_click=_begin_edit, args=args)
        st.button("Skip", key=f"skip-{id_}", icon=":material/skip_next:", shortcut="s", on_click=_skip, args=args)
        _offer_undo(folder, reviewing)


def _offer_undo(folder: Path, reviewing: Reviewing) -> None:
    st.button(
        "Undo",
        key="undo",
        icon=":material/undo:",
        shortcut="u",
        on_click=_undo,
        args=(folder, reviewing),
        disabled=not reviewing.decided,
    )


def _edit(folder: Path, worded: Candidate, reviewing: Reviewing) -> None:
    with st.form(f"edit-{worded.id}"):
        question = st.text_area("Question", worded.question, max_chars=1000, height=90)
        answer = ""
        if worded.answerable:
            answer = st.text_input("Answer", worded.answer, max_chars=1000)
        with st.container(horizontal=True, gap="small"):
            saved = st.form_submit_button("Save and accept", type="primary")
            left = st.form_submit_button("Cancel")
    if saved:
        _decide(folder, worded.id, "accepted", reviewing, question, answer)
    if saved or left:
        reviewing.editing = ""
        st.rerun()


def _decide(
    folder: Path, id_: str, verdict: Verdict, reviewing: Reviewing, question: str = "", answer: str = ""
) -> None:
    """Write one decision down; words that a person gave the question before stay unless there are new ones."""
    reviewing.failure = None
    try:
        before = load_questions(folder).decisions.get(id_)
        if before is not None:
            question, answer = question or before.question, answer or before.answer
        decide(folder, id_, verdict, question, answer)
    except FootnoteError as error:
        reviewing.failure = error
        return
    reviewing.decided.append((id_, before))
    _pass(id_, reviewing)


def _undo(folder: Path, reviewing: Reviewing) -> None:
    """Take the last decision of this tab back, to what was decided before, and show that question."""
    reviewing.failure = None
    id_, before = reviewing.decided.pop()
    try:
        if before is None:
            decide(folder, id_, None)
        else:
            decide(folder, id_, before.verdict, before.question, before.answer)
    except FootnoteError as error:
        reviewing.failure = error
    if id_ in reviewing.passed:
        reviewing.passed.remove(id_)


def _skip(id_: str, reviewing: Reviewing) -> None:
    _pass(id_, reviewing)


def _begin_edit(id_: str, reviewing: Reviewing) -> None:
    reviewing.editing = id_


def _pass(id_: str, reviewing: Reviewing) -> None:
    if id_ in reviewing.passed:
        reviewing.passed.remove(id_)
    reviewing.passed.append(id_)


def _head_html(questions: QuestionSet) -> str:
    counts = questions.counts()
    told = (
        f"{counts['undecided']} left · {counts['accepted']} accepted · {counts['rejected']} rejected · "
        f"{counts['used']} in the set"
    )
    return (
        f'<div class="fn-review"><h1>Review questions</h1><p role="status">{told}</p>'
        f'<p class="fn-path"><bdi>{escaped(shown_path(str(questions.folder)))}</bdi></p></div>'
    )


_NONE = (
    '<div class="fn-review"><h1>Review questions</h1><p>There are none yet. '
    "<code>footnote eval synthesize --collection NAME --out DIR</code> writes some with a model server.</p></div>"
)
