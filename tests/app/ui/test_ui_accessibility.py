"""The page with its source open, in both themes and on a phone: axe-core's rules, the keyboard, a printed page."""

import os

import pytest

from tests.app.ui.conftest import (
    ChatServer,
    Site,
    Visit,
    ask,
    choose,
    looks,
    passage_with,
    playwright,
    violations,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.model]

QUESTION = "How many passing places are there on the Stennick road?"
QUOTE = "There are 41 passing places upon the island, and the signs of nine of these will be renewed"


@pytest.fixture(autouse=True)
def script(chat_server: ChatServer) -> None:
    def answer(prompt: str) -> list[str]:
        if "Rewrite the last question" in prompt:
            return ["How many signs of passing places will be renewed?"]
        number = passage_with("41 passing places", prompt)
        return [f"{QUOTE} [{number}]. ", "A whale painted them crimson."]

    chat_server.script = answer


def open_budget(page: "playwright.Page") -> "playwright.Locator":
    """Ask the council's budget, and open the footnote; returns the turn."""
    choose(page, "council")
    turn = ask(page, QUESTION)
    wait_until(turn, "answered")
    turn.locator("button.fn-chip").first.click()
    page.locator(".fn-box").first.wait_for()
    return turn


@looks
def test_axe_finds_nothing_serious(site: Site, visit: Visit, scheme: str, width: int, height: int) -> None:
    page = visit(site, width, height, scheme)
    assert violations(page) == []
    turn = open_budget(page)
    playwright.expect(turn.locator(".fn-doubt")).to_have_count(1)
    page.locator(".fn-words summary").click()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if folder := os.environ.get("FOOTNOTE_TEST_SCREENSHOT"):
        page.screenshot(path=f"{folder}-{scheme}-{width}.png")
    page.keyboard.press("Escape")
    page.get_by_role("region", name="Source").wait_for(state="detached")

    ask(page, "And how many of their signs will be renewed?")
    page.get_by_role("radio", name="Not helpful").last.click()
    page.get_by_role("button", name="Send", exact=True).wait_for()
    assert violations(page) == []
    page.get_by_text("Edit the question").click()
    page.get_by_role("textbox", name="What was searched for").wait_for()
    assert violations(page) == []


def test_a_footnote_into_a_pdf_boxes_its_words_on_the_printed_page(site: Site, visit: Visit) -> None:
    page = visit(site)
    open_budget(page)
    source = page.get_by_role("region", name="Source")
    picture = source.get_by_role("img", name="Page 2 of")
    playwright.expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") == 1000
    boxes = source.locator(".fn-box")
    playwright.expect(boxes.first).to_be_in_viewport()
    frame = picture.bounding_box()
    assert frame is not None
    for box in boxes.all():
        inside = box.bounding_box()
        assert inside is not None
        assert frame["x"] < inside["x"] and inside["x"] + inside["width"] < frame["x"] + frame["width"]
        assert frame["y"] < inside["y"] and inside["y"] + inside["height"] < frame["y"] + frame["height"]
    source.get_by_text("The words as text").click()
    assert "41 passing places" in str(source.locator("mark").text_content())


def test_everything_is_reached_by_keyboard(site: Site, visit: Visit) -> None:
    page = visit(site)
    choose(page, "council")
    turn = ask(page, QUESTION)  # Enter sends it
    wait_until(turn, "answered")
    chip = turn.locator("button.fn-chip").first
    chip.focus()
    page.keyboard.press("Enter")
    source = page.get_by_role("region", name="Source")
    playwright.expect(source).to_be_focused()
    page.keyboard.press("Tab")
    playwright.expect(source.locator("summary")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    playwright.expect(page.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Escape")
    source.wait_for(state="detached")
    playwright.expect(chip).to_be_focused()

    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.innerText || document.activeElement.ariaLabel"))
    note, _details, *others = reached
    assert QUOTE in note
    assert [name.split("\n")[-1] for name in others] == ["Helpful", "Copy", "Regenerate", "Ask your documents"]
