"""The pages and their looks.

Run it with `footnote ui`, or `python -m streamlit run app/ui/main.py` from the repository's root.
"""

from pathlib import Path

import streamlit as st

from app.ui import rooms
from app.ui.chat import show_chat
from app.ui.documents import show_library
from app.ui.evaluation import show_evaluation
from app.ui.person import may, show_door, show_leave
from app.ui.review import show_review
from app.ui.search import show_search
from app.ui.sidebar import show_brand
from app.ui.views import error_html
from indexer.errors import FootnoteError

_HERE = Path(__file__).parent


def main() -> None:
    """Draw the page that the address names; the chat, unless the server was started to review questions."""
    st.set_page_config("Footnote", _HERE / "icon.png", layout="centered")
    st.html(_HERE / "page.css")
    try:
        current = _enter()
    except FootnoteError as error:
        st.html(error_html(error))
        return
    if current is not None:
        current.run()


def _enter() -> st.Page | None:
    """The page to draw, with the way to the others; None where nobody is signed in, or nothing is open to them."""
    if show_door() is None:
        return None
    pages = _pages()
    current = st.navigation(pages, position="hidden")
    with st.sidebar:
        show_brand()
        for page in pages:
            st.page_link(page)
        show_leave()
    if not rooms.names() and not may("admin"):
        st.html('<p class="fn-abstained">No collection is open to you. Ask whoever runs Footnote to grant you one.</p>')
        return None
    return current


def _pages() -> tuple[st.Page, ...]:
    """Every page that the reader may open; the one that opens first is the default."""
    reviews = rooms.review_folder() is not None and may("admin")
    pages = [
        st.Page(show_chat, title="Chat", icon=":material/chat:", url_path="chat", default=not reviews),
        st.Page(show_search, title="Search", icon=":material/manage_search:", url_path="search"),
        st.Page(show_library, title="Documents", icon=":material/folder_open:", url_path="documents"),
        st.Page(show_evaluation, title="Evaluation", icon=":material/insights:", url_path="evaluation"),
    ]
    if may("admin"):  # written questions quote documents of every group
        pages.append(
            st.Page(
                show_review, title="Review questions", icon=":material/fact_check:", url_path="review", default=reviews
            )
        )
    return tuple(pages)


main()
