"""What is open beside a page that is not the chat."""

from dataclasses import dataclass

from app.ui.markup import escaped
from indexer.errors import FootnoteError


@dataclass(slots=True)
class Beside:
    """What one browser tab has open; `opened` is a reference that the page understands, empty for nothing."""

    opened: str = ""
    failure: FootnoteError | None = None  # of the last click; shown once

    def open(self, reference: str) -> None:
        self.opened = "" if reference == self.opened else reference

    def close(self) -> None:
        self.opened = ""


def sheet_html(reference: str, head: str, body: str = "", named: str = "Document") -> str:
    """The frame of what is open; the keyboard goes there when it appears."""
    return (
        f'<section class="fn-sheet" tabindex="-1" aria-label="{escaped(named)}" data-fn-source="{escaped(reference)}">'
        f'<header class="fn-head">{head}</header>{body}</section>'
    )
