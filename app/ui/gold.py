"""The part of the Evaluation page that makes gold cases of answers with thumbs."""

import streamlit as st

from app.display import shorten
from app.gold import GoldCase, gold_file, promote, proposed
from app.judged import Judged, judged_answers
from app.ui import opened, rooms
from app.ui.beside import Beside
from app.ui.ledger import moment
from app.ui.markup import escaped
from app.ui.panel import shown_path
from app.ui.person import need
from indexer.errors import ConfigError, FootnoteError

LISTED = 100
_THUMBS = {"up": "helpful", "down": "not helpful"}


def show_gold(page: Beside) -> None:
    """Draw the judged answers; each can be corrected and kept as a case."""
    need("admin")  # the answers are of everybody's conversations
    found = judged_answers(opened.database(), LISTED)
    if not found:
        st.html('<p class="fn-abstained">No answer has a thumb yet. The chat page asks for them.</p>')
        return
    if told := st.session_state.pop("gold-told", ""):
        st.html(f'<p class="fn-meta" role="status">{escaped(told)}</p>')
    places = {judged.answer_id: judged for judged in found}
    chosen = st.selectbox("Judged answer", list(places), format_func=lambda id_: _named(places[id_]), key="judged")
    judged = places[str(chosen)]
    sources = _sources(judged)
    case = proposed(judged, sources)
    reason = f'<p class="fn-meta">The reader said: {escaped(judged.reason)}</p>' if judged.reason else ""
    st.html(f'<div class="fn-answer" dir="auto"><p>{escaped(judged.answer)}</p></div>{reason}')
    with st.form(f"gold-{judged.answer_id}"):
        question = st.text_area("Question", case.question, height=70, max_chars=2000)
        answer = st.text_area(
            "Known answer",
            case.answer,
            height=70,
            max_chars=20_000,
            help="Leave it empty where the documents do not say.",
        )
        unsaid = st.checkbox("The documents do not say", value=judged.abstained and judged.verdict == "up")
        kept: list[str] = []
        if sources:
            kept = st.multiselect("Documents that hold the answer", sources, sources, format_func=shown_path)
        if st.form_submit_button("Keep as a gold case", type="primary"):
            _keep(page, judged, GoldCase(judged.answer_id, question, answer, tuple(kept), case.filters), unsaid=unsaid)


def _keep(page: Beside, judged: Judged, case: GoldCase, *, unsaid: bool) -> None:
    file = gold_file(rooms.settings().home, judged.collection)
    try:
        if unsaid == bool(case.answer.strip()):
            raise ConfigError(
                "A case has a known answer, or none that the documents hold.", "Write the answer, or tick the box."
            )
        held = GoldCase(case.id, case.question, case.answer, () if unsaid else case.sources, case.filters)
        added = promote(file, held)
        st.session_state["gold-told"] = f"Kept in {file}." if added else f"That question is already in {file}."
    except FootnoteError as error:
        page.failure = error
    st.rerun()


def _named(judged: Judged) -> str:
    told = f"{_THUMBS[judged.verdict]}, {judged.collection}, {moment(judged.at)}"
    return f"{shorten(judged.question, 80)} ({told})"


def _sources(judged: Judged) -> list[str]:
    """Paths of the documents that the answer cites, where they are still there."""
    try:
        found = [rooms.document(judged.collection, id_) for id_ in judged.document_ids]
    except FootnoteError:  # the collection itself is gone
        return []
    return [document.source for document in found if document is not None]
