"""The chat: the conversation, the box for the next question, and the source beside it."""

import time
from dataclasses import replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.display import count
from app.ui import asking, evaluations, person, rooms
from app.ui.actions import show_actions, show_stop
from app.ui.filters import show_filters
from app.ui.footnotes import listen
from app.ui.history import follow_address, go_over, show_history
from app.ui.markup import label
from app.ui.panel import show_source
from app.ui.samples import sample_questions
from app.ui.session import Chat, Session, ask
from app.ui.sidebar import draw_progress, show_collections, show_documents, show_upload
from app.ui.turn import Turn
from app.ui.views import error_html, turn_html
from indexer.errors import ConfigError, FootnoteError

FRAME_S, MOST_S = 0.08, 0.4
PLOTS_AFTER_S = 15.0  # the first question and its models come first


def show_chat() -> None:
    """Draw the conversation from what the session holds, then watch whatever is being worked on."""
    try:
        session = _session()
        follow_address(session)
        _page(session)
    except FootnoteError as error:
        st.html(error_html(error))


def _session() -> Session:
    if "session" not in st.session_state:
        st.session_state.session = Session(collection=rooms.first_collection())
    session = st.session_state.session
    assert isinstance(session, Session)
    try:
        rooms.check(person.reader(), session.collection)
    except ConfigError:  # it was taken from the reader meanwhile
        go_over(session, rooms.first_collection())
    return session


def _page(session: Session) -> None:
    with st.sidebar:
        show_collections(session)
        progress = show_upload(session)
        if rooms.documents(session.collection):
            show_history(session)
            show_filters(session)
            show_documents(session)
        else:  # what is to be done first comes first
            show_documents(session)
            show_history(session)
            show_filters(session)
    asking.warm(session.collection)
    evaluations.warm(PLOTS_AFTER_S)
    chat = session.chat
    there = asking.there(session.collection)
    for turn in chat.turns:  # whoever deleted a document, in this process or another: its words end here
        turn.withhold(there.__contains__)
    listen(chat, _status(chat))
    welcome = st.empty()  # an empty place still says so to the browser, which would keep the old one up while it waits
    if not chat.turns:
        with welcome.container():
            _welcome(session)
    live = _conversation(session)
    show_source(chat, session.collection)
    if session.failure:
        st.html(error_html(session.failure))
        session.failure = None
    else:
        st.empty()
    st.chat_input("Ask your documents", key="question", on_submit=_submit, args=(session,))
    _follow(session, live, progress)


def _welcome(session: Session) -> None:
    documents = rooms.documents(session.collection)
    if not documents:
        st.html(
            '<div class="fn-welcome"><h1>No documents yet</h1><p>Add some in the sidebar, or run '
            "<code>footnote ingest FOLDER</code> in a terminal. Then ask.</p></div>"
        )
        return
    st.html(
        '<div class="fn-welcome"><h1>Ask your documents</h1>'
        "<p>Every claim in an answer carries a footnote. Open it to read the words it rests on.</p></div>"
    )
    with st.container(key="fn-samples", gap="small"):
        for number, question in enumerate(sample_questions(documents)):
            st.button(label(question), key=f"sample-{number}", type="tertiary", on_click=ask, args=(session, question))


def _conversation(session: Session) -> DeltaGenerator | None:
    """Draw every turn; returns the place of the one that is being worked on."""
    live, chat = None, session.chat
    with st.container(key="fn-chat", gap=None):
        for index, turn in enumerate(chat.turns):
            # No st.empty(): it would blank the place for an instant on every re-run, and take the focus with it.
            place = st.html(turn_html(turn, index))
            if turn is chat.working:
                live = place
                show_stop(turn)
            elif turn.done:
                show_actions(session, turn, index)
    return live


def _submit(session: Session) -> None:
    ask(session, st.session_state.question or "")


def _status(chat: Chat) -> str:
    """What a screen reader says of the last question."""
    if not chat.turns:
        return ""
    last = chat.turns[-1]
    if not last.done:
        return "Working on the answer"
    if last.failure:
        return "The question failed"
    doubts = len(last.answer.unsupported) if last.answer else 0
    return "The answer is ready" + (f"; {count(doubts, 'sentence')} without a source" if doubts else "")


def _follow(session: Session, live: DeltaGenerator | None, progress: DeltaGenerator | None) -> None:
    """Watch the turn and the upload under way until one of them ends, then draw the page afresh.

    A touch of the page ends this run at the next frame; the run that follows comes back here and goes on watching.
    """
    chat, turn, upload = session.chat, session.chat.working, session.upload
    if turn:
        _start(session, turn)
    if not live and not progress:
        return
    seen = 0
    while not (turn and turn.done) and not (progress and upload and upload.done):
        if live and turn:
            seen = turn.wait(seen, MOST_S)
            live.html(turn_html(turn, chat.turns.index(turn)))
        if progress and upload:
            draw_progress(upload, progress)
        time.sleep(FRAME_S)
    st.rerun()


def _start(session: Session, turn: Turn) -> None:
    chat, collection = session.chat, session.collection
    history, earlier, arm = chat.history(turn), chat.evidence(turn), asking.arm_of(chat.id)
    caller = person.reader()  # in the turn's thread nobody is known
    turn.start(
        lambda: asking.ask(caller, collection, turn.question, history, turn.query, earlier, turn.filters, arm),
        lambda record: asking.keep(caller, collection, replace(record, arm=arm)),
    )
