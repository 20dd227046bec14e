"""The source panel shows the document's own characters, and marks exactly the span."""

import re
from html import unescape

from hypothesis import given
from hypothesis import strategies as st

from app.ui.source import Span, Window, source_html, whole, window_around
from indexer.document import Document


def document(text: str, pages: tuple[int, ...] = ()) -> Document:
    return Document("d1", "/notes/a.md", "A", "text/markdown", "0" * 64, text, pages)


def shown(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", html))


def marked(html: str) -> list[str]:
    return [unescape(found) for found in re.findall(r"<mark[^>]*>(.*?)</mark>", html)]


TEXTS = st.text(alphabet="ab<>&\"' \n#|é漢\t", min_size=1, max_size=300)


@given(TEXTS, st.data())
def test_every_character_once_and_the_span_exactly(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    pages = tuple(sorted({0, *data.draw(st.lists(st.integers(0, len(text)), max_size=4))}))
    shown_document = document(text, pages)
    window = window_around(shown_document, Span(start, end), context_chars=data.draw(st.integers(0, 60)))
    html = source_html(shown_document, window, Span(start, end))
    assert shown(html) == text[window.start : window.end]
    assert marked(html) == [text[start:end]]
    assert "\n" not in html  # Streamlit would dedent it


def test_the_window_is_cut_at_line_ends_and_says_so() -> None:
    text = "".join(f"line {number}\n" for number in range(100))
    start = text.index("line 50")
    window = window_around(document(text), Span(start, start + 7), context_chars=20)
    assert text[window.start : window.end] == "line 48\nline 49\nline 50\nline 51\nline 52"
    html = source_html(document(text), window, Span(start, start + 7))
    assert "fn-cut-before" in html and "fn-cut-after" in html


def test_a_short_document_is_shown_whole() -> None:
    short = document("one\ntwo\nthree")
    assert window_around(short, Span(4, 7)) == whole(short) == Window(0, 13)
    assert "fn-cut" not in source_html(short, whole(short), None)


def test_pages_headings_and_rows_are_dressed_outside_the_mark() -> None:
    text = "# Title\n| a | b |\nwords here\nmore"
    html = source_html(document(text, (0, 18)), Window(0, len(text)), Span(18, 23))
    assert '<span class="fn-heading"># Title</span>' in html
    assert '<span class="fn-row">| a | b |</span>' in html
    assert html.index('data-label="Page 2"') < html.index("<mark")
    assert marked(html) == ["words"]
