"""The Documents page: what is in a collection, what became of every file, and what can be done about it."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from app.display import count
from app.ui import library, others, person, rooms
from app.ui.footnotes import listen
from app.ui.ledger import PAGE_ROWS, Wanted, chosen, moment, size_told, table_html, type_of
from app.ui.markup import escaped
from app.ui.person import is_loopback
from app.ui.preview import Looking, show_preview
from app.ui.upkeep import index_told, offer_upkeep, show_collections
from app.ui.views import error_html
from app.ui.working import follow, status_told, tell_end
from indexer.errors import ConfigError, FootnoteError
from indexer.formats import SUFFIXES
from indexer.store.records import FileRow

_ANY = "Any"


def show_library() -> None:
    """Draw the page from what is on disk and from the work that this server does."""
    try:
        name = _choose_collection()
        looking = _looking(name)
        st.html(_head_html(name))
        with st.container(key="fn-work"):  # what follows keeps its place, and the focus, when this comes and goes
            if looking.failure:
                st.html(error_html(looking.failure))
                looking.failure = None
            running = follow(library.jobs(), name, lambda: others.elsewhere(name))
            tell_end(library.jobs(), name)
        if person.may("ingest"):
            _offer_additions(looking, name, disabled=running)
        listen(looking, _status(name))
        _show_ledger(name, disabled=running)
        show_collections()
        show_preview(looking, name)
    except FootnoteError as error:
        st.html(error_html(error))


def _choose_collection() -> str:
    names = rooms.names() or [rooms.first_collection()]
    first = rooms.first_collection()
    with st.sidebar:
        return str(
            st.selectbox(
                "Collection",
                names,
                index=names.index(first) if first in names else 0,
                key="in",
                bind="query-params",
            )
        )


def _looking(name: str) -> Looking:
    kept = st.session_state.setdefault("looking", {})
    found = kept.setdefault(name, Looking())
    assert isinstance(found, Looking)
    return found


def _head_html(name: str) -> str:
    head = f'<div class="fn-top"><h1>Documents</h1><p>In <bdi>{escaped(name)}</bdi>: '
    if not rooms.is_there(name):
        return f"{head}nothing yet.</p></div>"
    facts = library.facts(name)
    held = [
        count(facts.documents, "document"),
        count(facts.chunks, "chunk"),
        *([f"{size_told(facts.bytes)} on disk"] if facts.bytes is not None else []),
        f"generation {facts.generation}",
    ]
    if facts.changed_at:
        held.append(f"last changed {moment(facts.changed_at)} UTC")
    encoder = [f"Encoder {facts.encoder}, {facts.dim} dimensions"] if facts.encoder else []
    made = " · ".join([*encoder, index_told(facts)])
    return f"{head}{escaped(' · '.join(held))}</p><p>{escaped(made)}</p></div>"


def _status(name: str) -> str:
    """What a screen reader says of the work."""
    job = library.jobs().last(name)
    return status_told(job) if job else ""


# --- adding


def _offer_additions(looking: Looking, name: str, *, disabled: bool) -> None:
    with st.container(key="fn-tools", horizontal=True, gap="small"):
        with st.popover("Add files", icon=":material/upload_file:", disabled=disabled):
            _offer_upload(looking, name)
        if is_loopback() and person.may("admin"):
            with st.popover("Sync a folder", icon=":material/sync:", disabled=disabled):
                _offer_sync(looking, name)
        failed = sum(row.state == "failed" for row in library.ledger(name))
        st.button(
            f"Retry failed ({failed})",
            icon=":material/replay:",
            disabled=disabled or not failed,
            on_click=library.retry,
            args=(name,),
        )
        if person.may("admin"):  # what is wrong is told of every document
            st.button(
                "Check health",
                icon=":material/health_and_safety:",
                disabled=disabled or not library.ledger(name),
                on_click=library.check,
                args=(name,),
            )
            if library.ledger(name):
                offer_upkeep(name, library.facts(name), disabled=disabled)


def _offer_upload(looking: Looking, name: str) -> None:
    files = st.file_uploader(
        "Files",
        type=[suffix.lstrip(".") for suffix in SUFFIXES],
        accept_multiple_files=True,
        key=f"files-{name}-{looking.uploads}",
    )
    if files:
        library.upload(name, [(file.name, file.getvalue()) for file in files])
        looking.uploads += 1
        st.rerun()


def _offer_sync(looking: Looking, name: str) -> None:
    with st.form("sync", border=False):
        folder = st.text_input("Folder on this machine", placeholder="/home/me/papers", key="folder")
        prune = st.checkbox("Remove documents whose file is gone from it", key="prune")
        if not st.form_submit_button("Sync"):
            return
    path = Path(folder.strip()).expanduser()
    if not folder.strip() or not path.is_dir():
        looking.failure = ConfigError(f"{folder.strip() or 'Nothing'} is no folder.", "Name a folder of this machine.")
    else:
        library.sync(name, path, prune=prune)
    st.rerun()


# --- the ledger


def _show_ledger(name: str, *, disabled: bool) -> None:
    rows = library.ledger(name)
    if not rows:
        st.html('<p class="fn-abstained">No file yet. Add some above.</p>')
        return
    titles = {info.id: info.title for info in rooms.documents(name)}
    wanted = _choose_rows(rows)
    found = chosen(rows, wanted, titles)
    last = max(1, -(-len(found) // PAGE_ROWS))
    number = 1
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        filtered = wanted != Wanted()
        st.html(f'<p class="fn-meta" role="status">{_counted(len(found), len(rows))}</p>')
        if last > 1:
            number = int(st.number_input(f"Page of {last}", 1, last, key="page", width=140))
        if filtered and found and person.may("ingest"):
            _offer_delete(name, found, disabled=disabled)
    number = min(number, last)
    st.html(table_html(found[(number - 1) * PAGE_ROWS : number * PAGE_ROWS], titles))


def _counted(found: int, all_: int) -> str:
    return count(all_, "file") if found == all_ else f"{found:,} of {count(all_, 'file')}"


def _choose_rows(rows: Sequence[FileRow]) -> Wanted:
    words_at, state_at, type_at = st.columns((3, 1, 1))
    states = sorted({row.state for row in rows})
    types = sorted({type_of(row.path) for row in rows}, key=str.casefold)
    words = words_at.text_input("Name", placeholder="Part of a name or path", key="name", bind="query-params")
    state = state_at.selectbox("State", (_ANY, *states), key="state", bind="query-params")
    kind = type_at.selectbox("Type", (_ANY, *types), key="type", bind="query-params")
    return Wanted(words or "", "" if state == _ANY else str(state), "" if kind == _ANY else str(kind))


def _offer_delete(name: str, found: Sequence[FileRow], *, disabled: bool) -> None:
    with st.popover(f"Delete these {len(found):,}…", type="tertiary", icon=":material/delete:", disabled=disabled):
        documents = len({row.document_id for row in found if row.document_id})
        st.text(
            f"{count(len(found), 'file')} with {count(documents, 'document')} will be taken out of the collection. "
            "Uploads are removed, too; other files stay where they are."
        )
        st.button(
            f"Delete {count(len(found), 'file')}",
            type="primary",
            on_click=library.delete,
            args=(name, [row.path for row in found]),
        )
