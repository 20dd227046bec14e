"""The page while its model server dies in the middle of an answer, is gone, and comes back."""

import pytest

from tests.app.ui.conftest import (
    DOCUMENTS,
    ChatServer,
    Site,
    Visit,
    ask,
    marked_words,
    passage_with,
    playwright,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.model]

QUOTE = "The lantern of the lighthouse stands 41 metres above high water."
QUESTION = "How high above high water does the lantern of the lighthouse stand?"


def failed(turn: "playwright.Locator") -> str:
    """The message and the remedy of a turn that failed, and that still shows what was found."""
    wait_until(turn, "failed")
    alert = turn.get_by_role("alert")
    assert alert.locator("p").count() == 2
    closest = turn.get_by_role("list", name="Closest passages").get_by_role("button")
    assert closest.count() > 0
    return str(alert.inner_text())


def test_the_passages_stay_when_the_model_dies_and_the_page_goes_on_when_it_is_back(
    site: Site, visit: Visit, chat_server: ChatServer
) -> None:
    chat_server.script = lambda prompt: ["The lantern stands", " 41 metres", "!"]
    page = visit(site)
    turn = ask(page, QUESTION)
    assert "ended the answer in the middle" in failed(turn)
    turn.get_by_role("list", name="Closest passages").get_by_role("button").first.click()
    assert marked_words(page) in "".join(DOCUMENTS["default"].values())
    page.keyboard.press("Escape")

    chat_server.end()
    try:
        said = failed(ask(page, QUESTION))
        assert "No model server answers" in said
        assert "footnote serve-model" in said
        assert "Traceback" not in page.inner_text("body")
    finally:
        chat_server.begin_again()

    chat_server.script = lambda prompt: [f"It stands 41 metres above high water [{passage_with(QUOTE, prompt)}]."]
    turn = ask(page, QUESTION)
    wait_until(turn, "answered")
    assert turn.locator(".fn-note q").text_content() == QUOTE
