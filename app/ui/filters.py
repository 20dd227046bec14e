"""Filters on the pages: what may be read, written as after `--filter`, several parted by semicolons."""

import streamlit as st

from app.ui.session import Session
from app.ui.views import error_html
from indexer.errors import ConfigError
from indexer.filter import parse_filter, read_conditions

HINT = "type=pdf; source=reports"
MOST_CHARS = 2000
_KEY = "filters"


def show_filters(session: Session) -> None:
    """Let the reader say which documents the next questions are asked of."""
    written = session.chat.filters
    with st.expander("Filters" + (" (on)" if written else ""), expanded=False, key="fn-filters"):
        st.session_state[_KEY] = written  # a conversation that is opened brings its own
        st.text_input(
            "Only documents that hold",
            key=_KEY,
            placeholder=HINT,
            max_chars=MOST_CHARS,
            help="source, type, title, date, added, id or meta.KEY; parted by semicolons; \\; is one of a value.",
            on_change=_take,
            args=(session,),
        )
        try:
            parse_filter(read_conditions(written))
        except ConfigError as error:
            st.html(error_html(error))


def _take(session: Session) -> None:
    session.chat.filters = st.session_state[_KEY].strip()
