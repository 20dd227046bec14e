"""Conversations in the browser: they outlive a reload and a restart, and are judged, copied, exported and deleted."""

from pathlib import Path

import pytest

from app.database import Database
from tests.app.ui.conftest import (
    UI,
    ChatServer,
    Site,
    Tab,
    Visit,
    ask,
    await_clicks,
    passage_with,
    playwright,
    running,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.model]

QUOTE = "The lantern of the lighthouse stands 41 metres above high water."
QUESTION = "How high above high water does the lantern of the lighthouse stand?"


@pytest.fixture(autouse=True)
def script(chat_server: ChatServer) -> None:
    """The server answers about the lantern, after a pause that ends when the test says so."""
    chat_server.go.set()
    chat_server.asked.clear()
    chat_server.script = lambda prompt: ["The lantern stands", "|", f" 41 metres high [{passage_with(QUOTE, prompt)}]."]


def test_a_reload_takes_up_an_answer_that_is_being_written(
    site: Site, visit: Visit, tab: Tab, chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.go.clear()
    page = visit(site)
    turn = ask(page, QUESTION, until="running")
    playwright.expect(turn.locator(".fn-answer")).to_have_text("The lantern stands", timeout=240_000)
    playwright.expect(turn.locator(".fn-times")).to_contain_text("Searching the documents")
    page.reload()
    wait_until(turn, "running")
    playwright.expect(turn.locator(".fn-answer")).to_have_text("The lantern stands")
    chat_server.go.set()
    wait_until(turn, "answered")
    await_clicks(page)  # then the buttons are marked as what they are
    before = turn.inner_html()
    page.reload()
    wait_until(turn, "answered")
    await_clicks(page)
    playwright.expect(turn).to_have_js_property("innerHTML", before)

    # And so does another server of the same home.
    address = page.url.split("?")[1]
    with running(UI, site.home, tmp_path / "again.log", FOOTNOTE_GENERATOR__BASE_URL=chat_server.base_url) as again:
        page = tab(again, f"?{address}")
        turn = page.locator('[data-fn-turn="0"]')
        wait_until(turn, "answered")
        await_clicks(page)
        playwright.expect(turn).to_have_js_property("innerHTML", before)
        turn.locator("button.fn-chip").click()
        playwright.expect(page.locator(".fn-sheet mark")).to_have_text(QUOTE)
    assert len(chat_server.asked) == 1, "what is stored is shown, not made again"


def thumbs(site: Site) -> list[tuple[str, str, str]]:
    with Database(site.home).connected() as db:
        return db.execute("SELECT thumb, reason, correction FROM feedback ORDER BY number").fetchall()


def test_an_answer_is_copied_with_its_references_and_judged(site: Site, visit: Visit) -> None:
    before = len(thumbs(site))
    page = visit(site)
    turn = ask(page, QUESTION)
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f'The lantern stands 41 metres high [^1].\n\n[^1]: lighthouse.md: "{QUOTE}"'

    page.get_by_role("radio", name="Not helpful").click()
    page.get_by_role("textbox", name="What was wrong? (optional)").fill("Which water?")
    page.get_by_role("textbox", name="What the answer should be (optional)").fill("41 metres above high water.")
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_role("button", name="Send", exact=True).wait_for(state="detached")
    assert thumbs(site)[before:] == [("down", "", ""), ("down", "Which water?", "41 metres above high water.")]
    page.reload()
    wait_until(turn, "answered")
    playwright.expect(page.get_by_role("radio", name="Not helpful")).to_be_checked()


def test_an_answer_is_made_again_in_its_place(site: Site, visit: Visit, chat_server: ChatServer) -> None:
    page = visit(site)
    turn = ask(page, QUESTION)
    chat_server.script = lambda prompt: [f"{QUOTE} [{passage_with(QUOTE, prompt)}]"]
    page.get_by_role("button", name="Regenerate").click()
    playwright.expect(turn.locator(".fn-answer")).to_contain_text("above high water")
    wait_until(turn, "answered")
    assert page.locator(".fn-turn").count() == 1 and len(chat_server.asked) == 2


def test_a_conversation_is_found_renamed_exported_and_deleted(site: Site, visit: Visit, tmp_path: Path) -> None:
    page = visit(site)
    ask(page, f"{QUESTION} Zanzibar?")
    page.get_by_role("button", name="Rename, export, delete").click()
    title = page.get_by_role("textbox", name="Title")
    title.fill("Zanzibar light")
    page.get_by_role("button", name="Rename", exact=True).click()
    listed = page.get_by_role("button", name="Zanzibar light")
    listed.wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as Markdown").click()
    assert download.value.suggested_filename == "Zanzibar light.md"
    download.value.save_as(tmp_path / "export.md")
    assert (tmp_path / "export.md").read_text() == (
        f"# Zanzibar light\n\n## {QUESTION} Zanzibar?\n\nThe lantern stands 41 metres high [^1-1].\n\n"
        f'[^1-1]: lighthouse.md: "{QUOTE}"\n'
    )
    page.keyboard.press("Escape")

    page.get_by_role("button", name="New chat").click()
    page.get_by_role("heading", name="Ask your documents").wait_for()
    assert "?c=" not in page.url
    find = page.get_by_role("textbox", name="Find a conversation")
    find.fill("ZANZIBAR")
    find.press("Enter")
    playwright.expect(page.locator('[class*="st-key-conversation-"]')).to_have_count(1)
    listed.click()
    wait_until(page.locator('[data-fn-turn="0"]'), "answered")

    page.get_by_role("button", name="Rename, export, delete").click()
    page.get_by_role("button", name="Delete for good").click()
    page.get_by_role("heading", name="Ask your documents").wait_for()
    playwright.expect(page.get_by_text("Nothing is found.")).to_be_visible()
    assert not [path for path in site.home.glob("server.db*") if b"zanzibar" in path.read_bytes().lower()]
