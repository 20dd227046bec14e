"""The chat, and the page on which written questions are reviewed.

Run it with `footnote ui`, or `python -m streamlit run app/ui/main.py` from the repository's root.
"""

import time
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.display import count
from app.ui import rooms
from app.ui.footnotes import listen
from app.ui.markup import label
from app.ui.panel import show_source
from app.ui.review import show_review
from app.ui.samples import sample_questions
from app.ui.session import Chat, Session
from app.ui.sidebar import draw_progress, show_brand, show_sidebar, show_upload
from app.ui.turn import Turn
from app.ui.views import error_html, is_rewritten, turn_html
from indexer.errors import FootnoteError

FRAME_S, MOST_S = 0.08, 0.4
_HERE = Path(__file__).parent


def main() -> None:
    """Draw the page that the address names; the chat, unless the server was started to review questions."""
    st.set_page_config("Footnote", _HERE / "icon.png", layout="centered")
    st.html(_HERE / "page.css")
    st.navigation(_pages(), position="hidden").run()


def _pages() -> tuple[st.Page, st.Page]:
    """The chat, and the review of written questions."""
    reviews = rooms.review_folder() is not None
    return (
        st.Page(chat, title="Chat", icon=":material/chat:", url_path="chat", default=not reviews),
        st.Page(review, title="Review questions", icon=":material/fact_check:", url_path="review", default=reviews),
    )


def chat() -> None:
    """Draw the conversation from what the session holds, then watch whatever is being worked on."""
    try:
        session = _session()
        _page(session)
    except FootnoteError as error:
        st.html(error_html(error))


def review() -> None:
    """Draw the questions that wait for a person."""
    with st.sidebar:
        show_brand()
        st.page_link(_pages()[0])
    show_review()


def _session() -> Session:
    if "session" not in st.session_state:
        st.session_state.session = Session(collection=rooms.first_collection())
    session = st.session_state.session
    assert isinstance(session, Session)
    return session


def _page(session: Session) -> None:
    with st.sidebar:
        show_sidebar(session)
        progress = show_upload(session)
        st.page_link(_pages()[1])
    rooms.warm(session.collection)
    chat = session.chat
    listen(chat, _status(chat))
    welcome = st.empty()  # an empty place still says so to the browser, which would keep the old one up while it waits
    if not chat.turns:
        with welcome.container():
            _welcome(session)
    live = _conversation(chat)
    show_source(chat, session.collection)
    st.chat_input("Ask your documents", key="question", on_submit=_submit, args=(chat,))
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
            asked = (session.chat, question)
            st.button(label(question), key=f"sample-{number}", type="tertiary", on_click=_ask, args=asked)


def _conversation(chat: Chat) -> DeltaGenerator | None:
    """Draw every turn; returns the place of the one that is being worked on."""
    live = None
    with st.container(key="fn-chat", gap=None):
        for index, turn in enumerate(chat.turns):
            # No st.empty(): it would blank the place for an instant on every re-run, and take the focus with it.
            place = st.html(turn_html(turn, index))
            if turn is chat.working:
                live = place
                st.button("Stop", key="fn-stop", icon=":material/stop_circle:", type="tertiary", on_click=turn.stop)
            elif is_rewritten(turn):
                _edit(chat, turn, index)
    return live


def _edit(chat: Chat, turn: Turn, index: int) -> None:
    """Let the reader correct what a follow-up was taken to mean, and ask that."""
    assert turn.answer is not None, "only an answered question was rewritten"
    key = f"query-{index}"
    with (
        st.container(key=f"fn-edit-{index}"),
        st.popover("Edit the question", type="tertiary", icon=":material/edit:"),
        st.form(f"edit-{index}", border=False),
    ):
        st.text_area("What was searched for", turn.answer.query, key=key)
        st.form_submit_button("Ask again", type="primary", on_click=_ask_again, args=(chat, key))


def _ask_again(chat: Chat, key: str) -> None:
    if query := st.session_state[key].strip():
        _ask(chat, query, query)


def _submit(chat: Chat) -> None:
    _ask(chat, st.session_state.question or "")


def _ask(chat: Chat, question: str, query: str | None = None) -> None:
    chat.close()  # on a phone it would lie over the answer
    chat.turns.append(Turn(question, query))


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
    if turn and not turn.started:
        history, earlier, collection = chat.history(turn), chat.evidence(turn), session.collection
        turn.start(lambda: rooms.ask(collection, turn.question, history, turn.query, earlier))
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


main()
