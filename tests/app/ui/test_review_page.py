"""The review of written questions in a real browser: by keyboard and by mouse, on a screen and on a phone.

FOOTNOTE_TEST_SCREENSHOT=PATH keeps a picture of the page.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.ui.conftest import Site, Tab, playwright, running, settle
from tests.eval.written import HOME, HOSTILE, LIT, TOWER, question_folder

pytestmark = pytest.mark.browser
# React listens for a button's key in an effect, which runs after the frame that shows the button.
LISTENING = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"


@pytest.fixture(scope="module")
def site(chromium: "playwright.Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("review")
    question_folder(folder / "asked")
    with running(("eval", "review", folder / "asked"), folder / "home", folder / "server.log") as site:
        yield site


@pytest.fixture
def page(tab: Tab, site: Site) -> "playwright.Page":
    """The page in a fresh session, with every question undecided again."""
    (asked(site) / "decisions.json").unlink(missing_ok=True)
    page = tab(site)
    shows(page, "single-0001")
    return page


def asked(site: Site) -> Path:
    return site.home.parent / "asked"


def decisions(site: Site) -> dict[str, str]:
    value = json.loads((asked(site) / "decisions.json").read_text())
    return {id_: decision["verdict"] for id_, decision in value["decisions"].items()}


def shows(page: "playwright.Page", id_: str) -> "playwright.Locator":
    """Wait until this question is the one that is shown."""
    article = page.locator(f'[data-fn-candidate="{id_}"]')
    article.wait_for()
    playwright.expect(page.locator(".fn-candidate")).to_have_count(1)
    return article


def press(page: "playwright.Page", key: str) -> None:
    """Press a key once the browser listens for it, which is a moment after the buttons are drawn."""
    page.get_by_role("button", name="Undo Shortcut").wait_for()
    settle(page)
    page.evaluate(LISTENING)
    page.keyboard.press(key)


def button(page: "playwright.Page", name: str) -> "playwright.Locator":
    """One of the buttons that have a key."""
    return page.get_by_role("button", name=f"{name} Shortcut")


def counts(page: "playwright.Page", told: str) -> None:
    playwright.expect(page.locator(".fn-review").get_by_role("status")).to_have_text(told)


def test_the_keyboard_alone_is_enough(site: Site, page: "playwright.Page") -> None:
    counts(page, "4 left · 0 accepted · 0 rejected · 4 in the set")
    press(page, "a")
    shows(page, "two-0002")
    assert decisions(site) == {"single-0001": "accepted"}
    press(page, "x")
    shows(page, "unanswerable-0003")
    assert decisions(site) == {"single-0001": "accepted", "two-0002": "rejected"}
    counts(page, "2 left · 1 accepted · 1 rejected · 3 in the set")
    press(page, "s")
    shows(page, "follow-up-0004")
    press(page, "a")
    shows(page, "unanswerable-0003")  # what was skipped comes last
    press(page, "a")
    page.get_by_text("Nothing is left here.").wait_for()
    press(page, "u")
    shows(page, "unanswerable-0003")
    assert set(decisions(site)) == {"single-0001", "two-0002", "follow-up-0004"}
    ids = [json.loads(line)["_id"] for line in (asked(site) / "queries.jsonl").read_text().splitlines()]
    assert ids == ["single-0001", "unanswerable-0003", "follow-up-0004"]


def test_what_is_edited_is_what_is_asked(site: Site, page: "playwright.Page") -> None:
    press(page, "e")
    question = page.get_by_role("textbox", name="Question")
    question.fill("How tall is the tower as a whole?")
    question.press_sequentially(" A x s u")  # letters in a field are letters
    page.get_by_role("textbox", name="Answer").fill("34 m")
    page.get_by_role("button", name="Save and accept").click()
    shows(page, "two-0002")
    assert decisions(site) == {"single-0001": "accepted"}
    first = json.loads((asked(site) / "queries.jsonl").read_text().splitlines()[0])
    assert (first["text"], first["answers"]) == ("How tall is the tower as a whole? A x s u", ["34 m"])
    page.get_by_text("Accepted", exact=True).click()
    article = shows(page, "single-0001")
    assert "How tall is the tower as a whole? A x s u" in article.inner_text()
    button(page, "Edit").click()
    page.get_by_role("button", name="Cancel").click()
    button(page, "Reject").click()
    page.get_by_text("Nothing is left here.").wait_for()
    assert decisions(site) == {"single-0001": "rejected"}


def test_only_accepted_questions_if_so_wanted(site: Site, page: "playwright.Page") -> None:
    button(page, "Accept").click()
    shows(page, "two-0002")
    page.get_by_text("Use accepted questions only").click()
    counts(page, "3 left · 1 accepted · 0 rejected · 1 in the set")
    assert len((asked(site) / "queries.jsonl").read_text().splitlines()) == 1
    page.get_by_text("Use accepted questions only").click()
    counts(page, "3 left · 1 accepted · 0 rejected · 4 in the set")


def test_what_a_model_wrote_is_shown_and_never_run(site: Site, page: "playwright.Page") -> None:
    article = shows(page, "single-0001")
    assert article.locator("h2").inner_text() == HOSTILE
    assert article.locator("img, script, a, strong, b").count() == 0
    assert article.locator(".fn-text").text_content() == TOWER
    assert article.locator("mark").all_text_contents() == [LIT]
    assert "Rank of the passage in the search\n2" in article.inner_text()
    assert "scripted" in article.locator("dl").inner_text()
    press(page, "s")
    assert shows(page, "two-0002").locator("mark").all_text_contents() == [LIT, HOME]
    press(page, "s")
    assert "The documents do not say." in shows(page, "unanswerable-0003").inner_text()
    press(page, "s")
    assert "Who was the <b>first</b> keeper?\n\nAnn Moray" in shows(page, "follow-up-0004").inner_text()
    assert site.hosts == {site.host}, "the page spoke to another host"


@pytest.mark.parametrize("width", [1200, 390])
def test_it_fits_a_screen_and_a_phone(page: "playwright.Page", width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("Accept", "Reject", "Edit", "Skip"):
        box = button(page, name).bounding_box()
        assert box is not None
        assert box["height"] >= 36
        assert 0 <= box["x"] <= box["x"] + box["width"] <= width
    if picture := os.environ.get("FOOTNOTE_TEST_SCREENSHOT"):
        page.screenshot(path=f"{picture}-{width}.png", full_page=True)


def test_the_chat_leads_to_it_and_back(site: Site, page: "playwright.Page") -> None:
    page.get_by_role("link", name="Chat").click()
    page.get_by_role("heading", name="No documents yet").wait_for()
    page.get_by_role("link", name="Review questions").click()
    shows(page, "single-0001")
