"""The conversations that are kept: which one the address names, and the list of them in the sidebar."""

import streamlit as st

from app.conversations import TITLE_CHARS, Conversation
from app.markdown import conversation_markdown
from app.ui import asking
from app.ui.markup import label
from app.ui.session import Chat, Session
from app.ui.turn import restore
from app.ui.uploads import safe_name
from indexer.errors import FootnoteError, IndexError_

LISTED = 30
_ADDRESS = "c"
_GONE = IndexError_("There is no such conversation.", "It was deleted, or the address is not whole.")


def follow_address(session: Session) -> None:
    """Make the session show the conversation that the address names, and the address name the one that is shown."""
    wanted, chat = st.query_params.get(_ADDRESS, ""), session.chat
    if wanted and wanted != chat.id:
        _open(session, wanted)
    if session.chat.id:
        st.query_params[_ADDRESS] = session.chat.id
    else:
        st.query_params.pop(_ADDRESS, None)


def show_history(session: Session) -> None:
    """Draw what can be done with conversations: begin one, find one, and rename, export or delete the one shown."""
    st.button("New chat", icon=":material/edit_square:", on_click=leave, args=(session,), width="stretch")
    with st.expander("Conversations", expanded=True, key="fn-history"):
        words = st.text_input("Find a conversation", placeholder="Find a conversation", label_visibility="collapsed")
        found = asking.conversations().list(words, LISTED)
        if not found:
            st.html(f'<p class="fn-meta">{"Nothing is found." if words else "None yet."}</p>')
        for conversation in found:
            _offer(session, conversation)
        if len(found) == LISTED:
            st.html('<p class="fn-meta">Older ones are found by their words.</p>')


def _open(session: Session, conversation_id: str) -> None:
    kept = asking.conversations()
    conversation = kept.find(conversation_id)
    if conversation is None:
        session.chat, session.failure = Chat(), _GONE
        return
    session.collection = conversation.collection
    session.chat = Chat(
        restore(lambda: asking.turns(conversation.collection, conversation.id)), conversation.id, conversation.title
    )
    session.chat.filters = "; ".join(session.chat.turns[-1].filters) if session.chat.turns else ""
    thumbs = asking.thumbs([turn.id for turn in session.chat.turns])
    for turn in session.chat.turns:
        turn.thumb = thumbs.get(turn.id)


def _offer(session: Session, conversation: Conversation) -> None:
    is_shown = conversation.id == session.chat.id
    st.button(
        label(conversation.title),
        key=f"conversation-{conversation.id}",
        type="secondary" if is_shown else "tertiary",
        width="stretch",
        on_click=_go,
        args=(session, conversation.id),
    )
    if is_shown:
        with st.popover("Rename, export, delete", type="tertiary", icon=":material/more_horiz:", key="fn-conversation"):
            _offer_changes(session, conversation)


def _offer_changes(session: Session, conversation: Conversation) -> None:
    with st.form(f"rename-{conversation.id}", border=False):
        key = f"title-{conversation.id}"
        st.text_input("Title", conversation.title, max_chars=TITLE_CHARS, key=key)
        st.form_submit_button("Rename", on_click=_rename, args=(session, key))
    st.download_button(
        "Export as Markdown",
        lambda: conversation_markdown(conversation.title, asking.turns(conversation.collection, conversation.id)),
        safe_name(f"{conversation.title.rstrip('?!.… ')}.md"),
        "text/markdown",
        on_click="ignore",
        icon=":material/download:",
    )
    st.text("Deleting removes questions, answers and thumbs from the disk.")
    st.button("Delete for good", on_click=_delete, args=(session,))


def _go(session: Session, conversation_id: str) -> None:
    st.query_params[_ADDRESS] = conversation_id
    session.chat.close()


def leave(session: Session) -> None:
    """Begin a new conversation; what is worked on in the one before goes on."""
    session.chat = Chat()
    st.query_params.pop(_ADDRESS, None)


def go_over(session: Session, collection: str) -> None:
    """Begin a new conversation about another collection."""
    leave(session)
    session.collection = collection


def _rename(session: Session, key: str) -> None:
    try:
        asking.conversations().rename(session.chat.id, st.session_state[key])
    except FootnoteError as error:
        session.failure = error


def _delete(session: Session) -> None:
    for turn in session.chat.turns:
        turn.stop()
    try:
        asking.conversations().delete(session.chat.id)
    except FootnoteError as error:
        session.failure = error
    leave(session)
