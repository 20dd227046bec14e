"""The source beside the chat: which document, where in it, and the words around with the quoted ones marked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from app.settings import ROOT
from app.ui import rooms
from app.ui.markup import escaped
from app.ui.pages import pages_html
from app.ui.session import Chat
from app.ui.source import Span, source_html, whole, window_around
from app.ui.turn import Turn
from app.ui.uploads import DELETING
from app.ui.views import error_html
from app.withheld import GONE
from indexer.document import Document
from indexer.errors import DocumentError, FootnoteError
from indexer.formats import PDF
from indexer.page_picture import page_parts


@dataclass(frozen=True, slots=True)
class Opened:
    """What a reference points at."""

    document_id: str
    title: str
    source: str
    page: int | None = None
    heading_path: tuple[str, ...] = ()
    span: Span | None = None
    words: str = ""  # at the span when the question was answered


def resolve(reference: str, turns: Sequence[Turn]) -> Opened | None:
    """What "c.<turn>.<number>", "h.<turn>.<rank>" or "d.<id>" points at; None when there is no such thing.

    References come back from the browser, so they are checked like any other input.
    """
    kind, _, rest = reference.partition(".")
    if kind == "d" and rest:
        return Opened(rest, "", "")
    turn, _, number = rest.partition(".")
    if kind not in ("c", "h") or not (turn.isdecimal() and number.isdecimal()) or int(turn) >= len(turns):
        return None
    return _of_turn(kind, turns[int(turn)], int(number))


def _of_turn(kind: str, turn: Turn, number: int) -> Opened | None:
    if kind == "h":
        for hit in turn.hits:
            if hit.rank == number:
                span = Span(hit.chunk.start, hit.chunk.end, "passage")
                chunk = hit.chunk
                return Opened(
                    chunk.document_id, hit.title, hit.source, chunk.page, chunk.heading_path, span, chunk.text
                )
        return None
    chunks = {hit.chunk.id: hit for hit in turn.hits}
    for citation in turn.answer.citations if turn.answer else ():
        if citation.number == number:
            hit_of = chunks.get(citation.chunk_id)
            return Opened(
                citation.document_id,
                hit_of.title if hit_of else "",
                citation.source,
                citation.page,
                hit_of.chunk.heading_path if hit_of else (),
                Span(citation.start, citation.end),
                citation.quote,
            )
    return None


def show_source(chat: Chat, collection: str) -> None:
    """Draw the open source, if one is open. The style sheet puts it beside the chat, or over it on a phone."""
    opened = resolve(chat.opened, chat.turns) if chat.opened else None
    if opened is None:
        st.empty()  # else the browser keeps the last one up, pale, until the answer that is being written ends
        return
    with st.container(key="fn-source", gap="small"):
        st.button("Close", key="fn-close", icon=":material/close:", type="tertiary", on_click=chat.close)
        try:
            document = rooms.document(collection, opened.document_id)
        except FootnoteError as error:
            st.html(error_html(error))
            return
        if document is None or not _still_says(document, opened):
            st.html(_gone_html(chat.opened, opened, removed=document is None))
            return
        window = whole(document) if chat.whole or opened.span is None else window_around(document, opened.span)
        text = source_html(document, window, opened.span)
        body = text if chat.whole else _with_pictures(document, opened.span, text)
        st.html(_frame_html(chat.opened, head_html(document, opened), body))
        _show_actions(chat, collection, document, opened, is_cut=window.start > 0 or window.end < len(document.text))


def _with_pictures(document: Document, span: Span | None, text: str) -> str:
    """The pages as they are printed where there are some, before the text; the text alone elsewhere."""
    if span is None or document.media_type != PDF.media_type:
        return text
    parts = page_parts(document, span.start, span.end)
    drawn = rooms.pictures(document, document.sha256, parts)
    if isinstance(drawn, DocumentError):
        return f'<p class="fn-where">Its pages cannot be shown: {escaped(drawn.remedy)}</p>{text}'
    return pages_html(drawn, document.title, text)


def _show_actions(chat: Chat, collection: str, document: Document, opened: Opened, *, is_cut: bool) -> None:
    if opened.span is not None and (is_cut or chat.whole):
        st.toggle("Whole document", value=chat.whole, key=f"whole-{chat.opened}", on_change=_flip_whole, args=(chat,))
    if opened.span is None:
        with st.popover("Remove…", type="tertiary"):
            st.text(DELETING)
            if st.button("Remove from the collection"):
                rooms.remove(collection, document.id)
                chat.close()
                st.rerun()


def _flip_whole(chat: Chat) -> None:
    chat.whole = not chat.whole


def _still_says(document: Document, opened: Opened) -> bool:
    span = opened.span
    return span is None or document.text[span.start : span.end] == opened.words


def head_html(document: Document, opened: Opened) -> str:
    """Title, path, page and headings of what is open."""
    title = document.title or opened.title or document.source
    lines = [f'<h3 class="fn-title" dir="auto">{escaped(title)}</h3>']
    headings = [heading for heading in opened.heading_path if heading != title]
    where = " \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} ".join(headings)
    if opened.page:
        where = f"Page {opened.page}" + (f" · {where}" if where else "")
    if where:
        lines.append(f'<p class="fn-where" dir="auto">{escaped(where)}</p>')
    lines.append(f'<p class="fn-path"><bdi>{escaped(shown_path(document.source))}</bdi></p>')
    return "".join(lines)


def shown_path(source: str) -> str:
    """A path as short as it is clear: an upload's without the folder of all uploads, else from the repository's root or
    the reader's home where it is inside one."""
    path, uploads = Path(source), rooms.settings().uploads_dir.resolve()
    if path.is_relative_to(uploads):
        _, *inside = path.relative_to(uploads).parts  # the collection is known
        return "/".join(inside)
    if path.is_relative_to(ROOT):
        return str(path.relative_to(ROOT))
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else source


def _frame_html(reference: str, head: str, body: str) -> str:
    return (
        f'<section class="fn-sheet" tabindex="-1" aria-label="Source" data-fn-source="{escaped(reference)}">'
        f'<header class="fn-head">{head}</header>{body}</section>'
    )


def _gone_html(reference: str, opened: Opened, *, removed: bool) -> str:
    head = f'<h3 class="fn-title">{escaped(opened.title or shown_path(opened.source))}</h3>'
    if removed:
        return _frame_html(reference, head, f'<p class="fn-where">This document is {GONE}. Its words are not kept.</p>')
    words = f'<p class="fn-label">The words at the time</p><blockquote>{escaped(opened.words)}</blockquote>'
    what = '<p class="fn-where">This document has changed since this was answered.</p>'
    return _frame_html(reference, head, what + (words if opened.words else ""))
