"""The sidebar: which collection, what is in it, and the place to drop new documents."""

from collections.abc import Sequence
from typing import Protocol

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.ui import person, rooms
from app.ui.history import go_over
from app.ui.markup import escaped, label
from app.ui.session import Session
from app.ui.uploads import Outcome, Upload, save
from app.ui.views import error_html
from indexer.errors import FootnoteError
from indexer.formats import SUFFIXES
from indexer.store.records import DocumentInfo

LISTED = 200
_VERBS = {"indexed": "added", "unchanged": "already there", "failed": "not added", "skipped": "not added"}


class Drawable(Protocol):
    """Streamlit's page, or a place on it."""

    def progress(self, value: float, text: str | None = None) -> DeltaGenerator: ...


def show_brand() -> None:
    """Draw our name."""
    st.html('<p class="fn-brand">Footnote<sup>1</sup></p>')


def show_documents(session: Session) -> None:
    """Draw what is in the collection, and let the reader add to it and open it."""
    documents = rooms.documents(session.collection)
    with st.expander(f"Documents ({len(documents)})", expanded=False, key="fn-documents"):
        _list_documents(documents)
    if person.may("ingest"):
        with st.expander("Add documents", expanded=not documents, key="fn-add"):
            _offer_upload(session)
    if person.may("admin"):
        with st.popover("New collection", icon=":material/add:", type="tertiary"):
            _offer_collection(session)


def show_upload(session: Session) -> DeltaGenerator | None:
    """How far an upload is, or what came of it. Returns the bar to draw on while it runs."""
    upload = session.upload
    if upload is None or (upload.done and upload.collection != session.collection):
        return None
    if not upload.done:
        return draw_progress(upload, st)
    st.html(error_html(upload.failure) if upload.failure else _outcomes_html(upload.outcomes))
    return None


def draw_progress(upload: Upload, place: Drawable) -> DeltaGenerator:
    """Draw the bar at a new place, or over an earlier one."""
    return place.progress(upload.finished / max(upload.total, 1), text=label(f"{upload.doing}…"))


def show_collections(session: Session) -> None:
    """Let the reader choose a collection; another one begins a new conversation."""
    counts = {summary.name: summary.documents for summary in rooms.collections()}
    counts.setdefault(session.collection, 0)
    names = sorted(counts)

    def named(name: str) -> str:
        number = counts[name]
        return f"{name} · " + ("damaged" if number is None else f"{number} document{'' if number == 1 else 's'}")

    st.session_state.collection = session.collection  # a new collection is chosen without this box
    st.selectbox("Collection", names, format_func=named, key="collection", on_change=_go_over, args=(session,))


def _go_over(session: Session) -> None:
    go_over(session, st.session_state.collection)


def _offer_collection(session: Session) -> None:
    with st.form("new-collection", border=False):
        name = st.text_input("Name", max_chars=64, placeholder="contracts").strip()
        if not st.form_submit_button("Make it") or not name:
            return
    try:
        rooms.create(name)
    except FootnoteError as error:
        st.html(error_html(error))
        return
    go_over(session, name)
    st.rerun()


def _list_documents(documents: Sequence[DocumentInfo]) -> None:
    if not documents:
        st.html('<p class="fn-meta">None yet.</p>')
        return
    wanted = ""
    if len(documents) > 8:
        wanted = st.text_input("Find a document", placeholder="Find a document", label_visibility="collapsed")
    found = [info for info in documents if wanted.casefold() in f"{info.title} {info.source}".casefold()]
    items = "".join(_document_html(info) for info in found[:LISTED])
    more = f'<p class="fn-meta">and {len(found) - LISTED} more</p>' if len(found) > LISTED else ""
    st.html(f'<ul class="fn-list" aria-label="Documents">{items}</ul>{more}')


def _document_html(info: DocumentInfo) -> str:
    name = info.source.rsplit("/", 1)[-1]
    return (
        f'<li><button type="button" class="fn-document" data-fn-open="d.{escaped(info.id)}" '
        f'title="{escaped(info.source)}"><bdi>{escaped(info.title or name)}</bdi>'
        f'<span class="fn-file"><bdi>{escaped(name)}</bdi></span></button></li>'
    )


def _offer_upload(session: Session) -> None:
    files = st.file_uploader(
        "Files",
        type=[suffix.lstrip(".") for suffix in SUFFIXES],
        accept_multiple_files=True,
        key=f"upload-{session.uploads}",
        label_visibility="collapsed",
        disabled=session.upload is not None and not session.upload.done,
    )
    if files:
        session.upload = _start_upload(session.collection, [(file.name, file.getvalue()) for file in files])
        session.uploads += 1
        st.rerun()


def _start_upload(collection: str, files: Sequence[tuple[str, bytes]]) -> Upload:
    caller = person.need("ingest")
    rooms.check(caller, collection)
    upload = Upload(collection, [name for name, _ in files])
    folder = rooms.uploads_dir(caller, collection)
    upload.start(lambda report: rooms.index(caller, collection, save(folder, files), report))
    return upload


def _outcomes_html(outcomes: Sequence[Outcome]) -> str:
    items = "".join(
        f'<li class="fn-{escaped(outcome.state)}"><bdi>{escaped(outcome.name)}</bdi>: '
        f"{_VERBS.get(outcome.state, escaped(outcome.state))}"
        f"{f'<br><span>{escaped(outcome.reason)}</span>' if outcome.reason else ''}</li>"
        for outcome in outcomes
    )
    return f'<ul class="fn-outcomes" aria-label="Uploaded files" role="status">{items}</ul>'
