"""The pages and their looks.

Run it with `footnote ui`, or `python -m streamlit run app/ui/main.py` from the repository's root.
"""

from pathlib import Path

import streamlit as st

from app.ui import rooms
from app.ui.chat import show_chat
from app.ui.documents import show_library
from app.ui.evaluation import show_evaluation
from app.ui.review import show_review
from app.ui.search import show_search
from app.ui.sidebar import show_brand

_HERE = Path(__file__).parent


def main() -> None:
    """Draw the page that the address names; the chat, unless the server was started to review questions."""
    st.set_page_config("Footnote", _HERE / "icon.png", layout="centered")
    st.html(_HERE / "page.css")
    pages = _pages()
    current = st.navigation(pages, position="hidden")
    with st.sidebar:
        show_brand()
        for page in pages:
            st.page_link(page)
    current.run()


def _pages() -> tuple[st.Page, ...]:
    """Every page there is; the one that opens first is the default."""
    reviews = rooms.review_folder() is not None
    return (
        st.Page(show_chat, title="Chat", icon=":material/chat:", url_path="chat", default=not reviews),
        st.Page(show_search, title="Search", icon=":material/manage_search:", url_path="search"),
        st.Page(show_library, title="Documents", icon=":material/folder_open:", url_path="documents"),
        st.Page(show_evaluation, title="Evaluation", icon=":material/insights:", url_path="evaluation"),
        st.Page(
            show_review, title="Review questions", icon=":material/fact_check:", url_path="review", default=reviews
        ),
    )


main()
