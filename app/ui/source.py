"""The page beside the chat: a stretch of one document, with the words that a footnote rests on marked."""

import re
from dataclasses import dataclass

from app.ui.markup import escaped
from indexer.document import Document

CONTEXT_CHARS = 1500
WHOLE_CHARS = 400_000
_PIECE = re.compile(r"(?P<heading>^#{1,6} .*$)|(?P<row>^\|.*$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `[start, end)` of a document's text, and what they are to the reader."""

    start: int
    end: int
    kind: str = "quote"  # "quote": the words a claim rests on; "passage": what was searched


@dataclass(frozen=True, slots=True)
class Window:
    """The characters `[start, end)` of a document that are shown."""

    start: int
    end: int


def window_around(document: Document, span: Span, context_chars: int = CONTEXT_CHARS) -> Window:
    """The stretch around a span, cut at line ends where one is near."""
    text = document.text
    start = max(0, span.start - context_chars)
    end = min(len(text), span.end + context_chars)
    if start > 0 and (line := text.find("\n", start, span.start)) != -1:
        start = line + 1
    if end < len(text) and (line := text.rfind("\n", span.end, end)) != -1:
        end = line
    return Window(start, end)


def whole(document: Document) -> Window:
    """As much of the document as a browser shows without trouble."""
    return Window(0, min(len(document.text), WHOLE_CHARS))


def source_html(document: Document, window: Window, span: Span | None) -> str:
    """The window as HTML: every character of the document in order, the span inside one `<mark>`.

    Page breaks and cut ends are drawn by the style sheet, so that the text of the element stays the document's.
    """
    cuts = "fn-cut-before " * (window.start > 0) + "fn-cut-after" * (window.end < len(document.text))
    if span is None:
        body = _stretch_html(document, window.start, window.end)
    else:
        marked = escaped(document.text[span.start : span.end])
        body = (
            _stretch_html(document, window.start, span.start)
            + f'<mark class="fn-{span.kind}" data-fn-mark>{marked}</mark>'
            + _stretch_html(document, span.end, window.end)
        )
    return f'<div class="fn-text {cuts}" dir="auto">{body}</div>'


def _stretch_html(document: Document, start: int, end: int) -> str:
    """Characters `[start, end)` with the page breaks at and between them."""
    html: list[str] = []
    for number, offset in enumerate(document.pages, 1):
        if number > 1 and start <= offset <= end:
            html.append(_dressed(document.text[start:offset]))
            html.append(f'<span class="fn-page" data-label="Page {number}"></span>')
            start = offset
    html.append(_dressed(document.text[start:end]))
    return "".join(html)


def _dressed(text: str) -> str:
    """Escaped text with headings and table rows dressed as such, no character added or lost."""
    html: list[str] = []
    done = 0
    for found in _PIECE.finditer(text):
        html.append(escaped(text[done : found.start()]))
        html.append(f'<span class="fn-{found.lastgroup}">{escaped(found[0])}</span>')
        done = found.end()
    html.append(escaped(text[done:]))
    return "".join(html)
