"""What a reader can do with an answer: stop it, judge it, copy it, have it made again, correct the question."""

import streamlit as st

from app.feedback import Thumb, Verdict
from app.markdown import with_footnotes
from app.ui import asking
from app.ui.markup import escaped
from app.ui.session import Session, ask, ask_again
from app.ui.turn import Turn
from app.ui.views import error_html, is_rewritten
from indexer.errors import FootnoteError

_VERDICTS: dict[Verdict, str] = {"up": ":material/thumb_up: Helpful", "down": ":material/thumb_down: Not helpful"}
_ASKED: dict[Verdict, str] = {"up": "What was good?", "down": "What was wrong?"}
REASON_CHARS, CORRECTION_CHARS = 2_000, 20_000  # as many as the API takes


def show_stop(turn: Turn) -> None:
    """Offer to stop the answer that is being written."""
    st.button("Stop", key="fn-stop", icon=":material/stop_circle:", type="tertiary", on_click=turn.stop)


def show_actions(session: Session, turn: Turn, index: int) -> None:
    """Draw the row under a finished turn."""
    if turn.unkept:
        st.html(error_html(turn.unkept))
    with st.container(key=f"fn-actions-{index}", horizontal=True, gap="small", vertical_alignment="center"):
        if turn.answer and turn.kept and turn.kept.index:
            _offer_thumbs(session, turn)
        if turn.answer:
            copied = escaped(with_footnotes(turn.answer))
            st.html(f'<button type="button" class="fn-action" data-fn-copy="{copied}">Copy</button>', width="content")
        if turn is session.chat.turns[-1]:
            st.button("Regenerate", key=f"again-{turn.id}", type="tertiary", on_click=ask_again, args=(session, index))
        else:
            st.empty()  # gives the button up at once, not when the answer that is being written ends; see page.css
        if is_rewritten(turn):
            _offer_edit(session, turn, index)
    if turn.thumb and session.chat.judged == turn.id:
        _ask_reason(session, turn, turn.thumb)


def _offer_thumbs(session: Session, turn: Turn) -> None:
    key = f"thumb-{turn.id}"
    if turn.thumb and key not in st.session_state:  # a default that comes later would make it another widget
        st.session_state[key] = turn.thumb.verdict
    st.pills(
        "Was this helpful?",
        list(_VERDICTS),
        format_func=_VERDICTS.__getitem__,
        required=True,
        key=key,
        label_visibility="collapsed",
        on_change=_judge,
        args=(session, turn, key),
    )


def _judge(session: Session, turn: Turn, key: str) -> None:
    verdict = st.session_state[key]
    if verdict in _VERDICTS and (turn.thumb is None or turn.thumb.verdict != verdict):
        _store(session, turn, Thumb(verdict))
        session.chat.judged = turn.id


def _ask_reason(session: Session, turn: Turn, thumb: Thumb) -> None:
    """Ask for the reason and the right answer, neither of which is needed."""
    reason, correction = f"reason-{turn.id}", f"correction-{turn.id}"
    with st.form(f"judge-{turn.id}"):
        st.text_input(f"{_ASKED[thumb.verdict]} (optional)", max_chars=REASON_CHARS, key=reason)
        st.text_area("What the answer should be (optional)", max_chars=CORRECTION_CHARS, height=90, key=correction)
        with st.container(horizontal=True, gap="small"):
            given = (session, turn, thumb.verdict, reason, correction)
            st.form_submit_button("Send", type="primary", on_click=_explain, args=given)
            st.form_submit_button("No, thanks", on_click=_end_judging, args=(session,))


def _explain(session: Session, turn: Turn, verdict: Verdict, reason: str, correction: str) -> None:
    told, right = (st.session_state[key].strip() for key in (reason, correction))
    if told or right:
        _store(session, turn, Thumb(verdict, told, right))
    _end_judging(session)


def _end_judging(session: Session) -> None:
    session.chat.judged = ""


def _store(session: Session, turn: Turn, thumb: Thumb) -> None:
    assert turn.kept is not None, "what is not kept is not judged"
    try:
        asking.judge(session.collection, turn.kept, thumb)
        turn.thumb = thumb
    except FootnoteError as error:
        session.failure = error


def _offer_edit(session: Session, turn: Turn, index: int) -> None:
    """Let the reader correct what a follow-up was taken to mean, and ask that."""
    assert turn.answer is not None, "only an answered question was rewritten"
    key = f"query-{index}"
    with (
        st.popover("Edit the question", type="tertiary", icon=":material/edit:"),
        st.form(f"edit-{index}", border=False),
    ):
        st.text_area("What was searched for", turn.answer.query, key=key)
        st.form_submit_button("Ask again", on_click=_ask_edited, args=(session, key))


def _ask_edited(session: Session, key: str) -> None:
    if query := st.session_state[key].strip():
        ask(session, query, query)
