"""The page while its model server dies in the middle of an answer, is gone, and comes back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from tests.app.ui.conftest import DOCUMENTS, ChatServer, Site, ask, marked_words, passage_with, playwright, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.model]

QUOTE = "The lantern of the lighthouse stands 41 metres above high water."
QUESTION = "How high above high water does the lantern of the lighthouse stand?"


@contextmanager
def listening(port: int = 0) -> Iterator[ChatServer]:
    server = ChatServer(port)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.go.set()
        server.shutdown()
        server.server_close()


def failed(turn: "playwright.Locator") -> str:
    """The message and the remedy of a turn that failed, and that still shows what was found."""
    wait_until(turn, "failed")
    alert = turn.get_by_role("alert")
    assert alert.locator("p").count() == 2
    closest = turn.get_by_role("list", name="Closest passages").get_by_role("button")
    assert closest.count() > 0
    return str(alert.inner_text())


def test_the_passages_stay_when_the_model_dies_and_the_page_goes_on_when_it_is_back(
    serve: Callable[..., object], visit: Callable[..., "playwright.Page"]
) -> None:
    with listening() as server:
        port = server.server_port
        server.script = lambda prompt: ["The lantern stands", " 41 metres", "!"]
        with serve(FOOTNOTE_GENERATOR__BASE_URL=server.base_url) as site:  # type: ignore[attr-defined]
            assert isinstance(site, Site)
            page = visit(site)
            turn = ask(page, QUESTION)
            assert "ended the answer in the middle" in failed(turn)
            turn.get_by_role("list", name="Closest passages").get_by_role("button").first.click()
            assert marked_words(page) in "".join(DOCUMENTS["default"].values())
            page.keyboard.press("Escape")

            server.shutdown()
            server.server_close()
            said = failed(ask(page, QUESTION))
            assert "No model server answers" in said
            assert "footnote serve-model" in said
            assert "Traceback" not in page.inner_text("body")

            with listening(port) as again:
                again.script = lambda prompt: [f"It stands 41 metres above high water [{passage_with(QUOTE, prompt)}]."]
                turn = ask(page, QUESTION)
                wait_until(turn, "answered")
                assert turn.locator(".fn-note q").text_content() == QUOTE
