"""The one piece of JavaScript on the page: it turns clicks on footnotes into Streamlit events and moves the focus."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import streamlit as st

if TYPE_CHECKING:
    from streamlit.components.v2.types import ComponentRenderer

_KEY = "footnotes"


class Opens(Protocol):
    """Has one source open beside the page, or none; `opened` is its reference."""

    opened: str

    def open(self, reference: str) -> None: ...

    def close(self) -> None: ...


@cache
def _component() -> "ComponentRenderer":
    return st.components.v2.component(
        "footnote.footnotes",
        html='<div role="status" aria-live="polite" class="fn-unseen"></div>',
        js=Path(__file__).with_name("footnotes.js").read_text(encoding="utf-8"),
        isolate_styles=False,
    )


def listen(page: Opens, status: str) -> None:
    """Mount the listener. `status` is read out by screen readers when it changes."""
    _component()(
        key=_KEY,
        data={"opened": page.opened, "status": status},
        height="content",
        on_wish_change=_granting(page),
    )


def _granting(page: Opens) -> Callable[[], None]:
    def grant() -> None:
        match st.session_state[_KEY].get("wish"):
            case {"source": str(reference)} if reference:
                page.open(reference)
            case _:
                page.close()

    return grant
