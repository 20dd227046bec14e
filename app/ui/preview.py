"""A document beside its list: its text as it was read, or the chunks that it was cut into."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from app.display import count
from app.ui import library, person, rooms
from app.ui.beside import Beside, sheet_html
from app.ui.markup import escaped
from app.ui.panel import Opened, head_html
from app.ui.source import source_html, whole
from app.ui.uploads import DELETING
from app.ui.views import error_html
from indexer.document import Chunk, Document
from indexer.errors import FootnoteError

CHUNKS_SHOWN = 200
_BETWEEN = " \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} "


@dataclass(slots=True)
class Looking(Beside):
    """What one browser tab has open beside the list: "d.<document id>", or nothing."""

    uploads: int = 0  # so far; a fresh number empties the upload field


def show_preview(looking: Looking, name: str) -> None:
    """Draw the open document, if one is open; the style sheet puts it beside the list, or over it on a phone."""
    kind, _, document_id = looking.opened.partition(".")
    if kind != "d" or not document_id:
        return
    with st.container(key="fn-source", gap="small"):
        st.button("Close", key="fn-close", icon=":material/close:", type="tertiary", on_click=looking.close)
        try:
            document = rooms.document(name, document_id)
            if document is None:
                st.html(sheet_html(looking.opened, '<p class="fn-where">This document is no longer there.</p>'))
                return
            # Drawn below the head, chosen before it
            shown = st.session_state.get("preview") or "Text"
            chunks = library.chunks(name, document_id) if shown == "Chunks" else []
        except FootnoteError as error:
            st.html(error_html(error))
            return
        head = head_html(document, Opened(document.id, document.title, document.source))
        body = chunks_html(chunks) if shown == "Chunks" else source_html(document, whole(document), None)
        st.html(sheet_html(looking.opened, head + _facts_html(document)))
        st.segmented_control("Show", ("Text", "Chunks"), default="Text", required=True, key="preview")
        st.html(f'<div class="fn-body">{body}</div>')
        if person.may("ingest"):
            _offer_delete(looking, name, document)


def chunks_html(chunks: Sequence[Chunk]) -> str:
    """Chunks as they are searched, each with its place in the document."""
    shown = "".join(_chunk_html(number, chunk) for number, chunk in enumerate(chunks[:CHUNKS_SHOWN], 1))
    left = len(chunks) - CHUNKS_SHOWN
    return shown + (f'<p class="fn-meta">and {count(left, "more chunk")}</p>' if left > 0 else "")


def _chunk_html(number: int, chunk: Chunk) -> str:
    where = [f"Page {chunk.page}"] if chunk.page else []
    where += [_BETWEEN.join(chunk.heading_path)] if chunk.heading_path else []
    where.append(f"characters {chunk.start:,} to {chunk.end:,}")
    told = f'<p class="fn-where" dir="auto">{escaped(" · ".join(where))}</p>'
    return (
        f'<section class="fn-chunk"><h4>Chunk {number}</h4>{told}'
        f'<div class="fn-text" dir="auto">{escaped(chunk.text)}</div></section>'
    )


def _facts_html(document: Document) -> str:
    pages = f" · {count(len(document.pages), 'page')}" if document.pages else ""
    return f'<p class="fn-where">{escaped(document.media_type)}{pages} · {count(len(document.text), "character")}</p>'


def _offer_delete(looking: Looking, name: str, document: Document) -> None:
    with st.popover("Delete…", type="tertiary", icon=":material/delete:"):
        st.text(DELETING)
        given = (looking, name, document.id)
        st.button("Delete this document", type="primary", on_click=_delete, args=given)


def _delete(looking: Looking, name: str, document_id: str) -> None:
    try:
        library.delete(name, rooms.reading(name).sources(document_id))
        looking.close()
    except FootnoteError as error:
        looking.failure = error
