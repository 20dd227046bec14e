"""The one piece of JavaScript on the page: it turns clicks on footnotes into Streamlit events and moves the focus."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from app.ui.session import Chat

if TYPE_CHECKING:
    from streamlit.components.v2.types import ComponentRenderer

_KEY = "footnotes"


@cache
def _component() -> "ComponentRenderer":
    return st.components.v2.component(
        "footnote.footnotes",
        html='<div role="status" aria-live="polite" class="fn-unseen"></div>',
        js=Path(__file__).with_name("footnotes.js").read_text(encoding="utf-8"),
        isolate_styles=False,
    )


def listen(chat: Chat, status: str) -> None:
    """Mount the listener. `status` is read out by screen readers when it changes."""
    _component()(
        key=_KEY,
        data={"opened": chat.opened, "status": status},
        height="content",
        on_wish_change=_granting(chat),
    )


def _granting(chat: Chat) -> Callable[[], None]:
    def grant() -> None:
        match st.session_state[_KEY].get("wish"):
            case {"source": str(reference)} if reference:
                chat.open(reference)
            case _:
                chat.close()

    return grant
