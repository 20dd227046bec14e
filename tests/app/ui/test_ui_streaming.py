"""The page with a chat server behind it: what the reader sees while an answer is being written, and after."""

import os

import pytest

from generator.abstain import DECLINE
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

LIGHT = DOCUMENTS["default"]["lighthouse.md"]
QUOTE = "The lantern of the lighthouse stands 41 metres above high water."
QUESTION = "How high above high water does the lantern of the lighthouse stand?"


@pytest.fixture(autouse=True)
def script(chat_server: ChatServer) -> None:
    """By default the server answers about the lantern, and stops in the middle until it may go on."""
    chat_server.go.clear()
    chat_server.asked.clear()
    chat_server.script = lantern


def lantern(prompt: str) -> list[str]:
    number = passage_with(QUOTE, prompt)
    return [
        "The lantern stands",
        " 41 metres",
        "|",
        f" above high water [{number}",
        "]. ",
        "![x](https://evil.example)",
    ]


def test_an_answer_streams_and_its_footnote_opens_the_quoted_words(
    site: Site, visit: Visit, chat_server: ChatServer
) -> None:
    page = visit(site)
    turn = ask(page, QUESTION, until="running")
    playwright.expect(turn.locator(".fn-answer")).to_have_text("The lantern stands 41 metres", timeout=240_000)
    playwright.expect(turn.locator(".fn-doing")).to_have_text("Writing…")

    # The page is touched while the answer is written: it is drawn again, and nothing is asked again.
    page.get_by_text("Documents (2)").click()
    page.locator(".fn-document", has_text="The harbour").click()
    page.get_by_role("region", name="Source").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("Documents (2)").click()
    wait_until(turn, "running")
    chat_server.go.set()
    wait_until(turn, "answered")
    assert len(chat_server.asked) == 1

    assert turn.locator(".fn-answer").inner_text().startswith("The lantern stands 41 metres above high water1.")
    chip = turn.locator("button.fn-chip")
    chip.click()
    assert marked_words(page) == QUOTE == turn.locator(".fn-note q").text_content()
    source = page.get_by_role("region", name="Source")
    assert source.get_by_role("heading").inner_text() == "The lighthouse on Skerry Point"
    assert "The lantern" in source.locator(".fn-where").inner_text()
    assert source.locator(".fn-path").inner_text().endswith("lighthouse.md")
    assert source.locator(".fn-text").text_content() == LIGHT.strip()

    # Closed by keyboard, the focus is back where it was; opened by keyboard, it is in the source.
    page.keyboard.press("Escape")
    source.wait_for(state="detached")
    playwright.expect(chip).to_be_focused()
    page.keyboard.press("Enter")
    assert marked_words(page) == QUOTE
    playwright.expect(source).to_be_focused()
    assert len(chat_server.asked) == 1
    assert page.locator(".fn-turn img, .fn-turn a, .fn-sheet img, .fn-sheet a").count() == 0
    assert site.hosts == {site.host}, "the page spoke to another host"


def test_a_follow_up_shows_what_was_searched_for(site: Site, visit: Visit, chat_server: ChatServer) -> None:
    chat_server.go.set()
    page = visit(site)
    ask(page, QUESTION)
    chat_server.script = lambda text: ["When was the lantern first lit?"] if "Last question" in text else [DECLINE]
    turn = ask(page, "And when was it first lit?")
    assert turn.locator(".fn-query q").inner_text() == "When was the lantern first lit?"


def test_nothing_old_stands_beside_an_answer_that_is_being_written(
    site: Site, visit: Visit, chat_server: ChatServer
) -> None:
    chat_server.go.set()
    page = visit(site)
    ask(page, QUESTION).locator("button.fn-chip").click()
    page.get_by_role("region", name="Source").wait_for()
    chat_server.go.clear()
    turn = ask(page, QUESTION, until="running")
    playwright.expect(turn.locator(".fn-answer")).to_have_text("The lantern stands 41 metres")
    playwright.expect(page.get_by_role("region", name="Source")).to_have_count(0)
    playwright.expect(page.get_by_role("button", name="Regenerate")).to_have_count(0)
    stale = page.locator('[data-stale="true"]').filter(has=page.locator("button:visible, .fn-turn, .fn-sheet"))
    playwright.expect(stale).to_have_count(0)


def test_a_filter_leaves_only_its_documents_and_stays_with_the_conversation(
    site: Site, visit: Visit, chat_server: ChatServer
) -> None:
    chat_server.script = lambda text: [DECLINE]
    page = visit(site)
    page.get_by_text("Filters", exact=True).click()
    box = page.get_by_role("textbox", name="Only documents that hold")
    box.fill("folder=x")
    box.press("Enter")
    playwright.expect(page.get_by_role("alert")).to_contain_text('There is no field "folder"')
    question = page.get_by_role("textbox", name="Ask your documents")
    question.fill(QUESTION)
    question.press("Enter")
    playwright.expect(page.get_by_role("alert")).to_have_count(2)  # beside the field, and under the conversation
    assert page.locator(".fn-turn").count() == 0 and chat_server.asked == []

    box.fill("source=harbour.md")
    box.press("Enter")
    playwright.expect(page.get_by_role("alert")).to_have_count(0)
    turn = ask(page, QUESTION)
    playwright.expect(turn.locator(".fn-filters")).to_have_text("Only documents with source=harbour.md")
    assert set(turn.locator(".fn-place").all_inner_texts()) == {"The harbour of Skerry Point"}
    page.reload()
    playwright.expect(turn.locator(".fn-filters")).to_have_text("Only documents with source=harbour.md")
    page.get_by_text("Filters (on)").click()
    playwright.expect(box).to_have_value("source=harbour.md")


def test_when_the_documents_do_not_say_the_closest_passages_are_there(
    site: Site, visit: Visit, chat_server: ChatServer
) -> None:
    chat_server.script = lambda text: [DECLINE]
    page = visit(site)
    turn = ask(page, "What does a lantern on the moon cost?")
    wait_until(turn, "abstained")
    playwright.expect(turn).to_contain_text(DECLINE)
    turn.get_by_role("list", name="Closest passages").get_by_role("button").first.click()
    assert marked_words(page) in "".join(DOCUMENTS["default"].values())


def test_an_answer_can_be_stopped(site: Site, visit: Visit, chat_server: ChatServer) -> None:
    page = visit(site)
    turn = ask(page, QUESTION, until="running")
    playwright.expect(turn.locator(".fn-answer")).to_have_text("The lantern stands 41 metres", timeout=240_000)
    page.get_by_role("button", name="Stop").click()
    playwright.expect(turn).to_contain_text("Stopping…")
    chat_server.go.set()
    wait_until(turn, "stopped")
    assert turn.locator(".fn-answer").inner_text() == "The lantern stands 41 metres"
    playwright.expect(page.get_by_role("button", name="Stop")).to_have_count(0)


def test_a_broken_model_server_is_told_with_a_remedy(site: Site, visit: Visit, chat_server: ChatServer) -> None:
    chat_server.script = lambda text: []
    page = visit(site)
    turn = ask(page, QUESTION)
    wait_until(turn, "failed")
    alert = turn.get_by_role("alert")
    assert alert.locator("p").count() == 2
    assert "Traceback" not in page.inner_text("body")
    assert turn.get_by_role("list", name="Closest passages").get_by_role("button").count() > 0


def test_a_question_that_is_too_long_is_refused_in_words(site: Site, visit: Visit, chat_server: ChatServer) -> None:
    page = visit(site)
    turn = ask(page, "why " * 12_500)
    wait_until(turn, "failed")
    assert "50,000" in turn.get_by_role("alert").inner_text()
    assert chat_server.asked == []


def test_on_a_phone_the_source_lies_over_the_chat_and_closes(site: Site, visit: Visit, chat_server: ChatServer) -> None:
    chat_server.go.set()
    page = visit(site, 390, 844)
    turn = ask(page, QUESTION)
    turn.locator("button.fn-chip").click()
    assert marked_words(page) == QUOTE
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Close").click()
    page.get_by_role("region", name="Source").wait_for(state="detached")


def test_a_sentence_without_a_source_is_set_off_without_colour(
    site: Site, visit: Visit, chat_server: ChatServer
) -> None:
    def doubtful(prompt: str) -> list[str]:
        number = passage_with(QUOTE, prompt)
        return [f"The lantern stands 41 metres above high water [{number}]. ", "It was painted crimson by a whale."]

    chat_server.script = doubtful
    page = visit(site, width=390, height=800)
    turn = ask(page, QUESTION)
    doubted = turn.locator(".fn-unsupported")
    playwright.expect(doubted).to_have_text("It was painted crimson by a whale.")
    assert "dotted" in str(doubted.evaluate("node => getComputedStyle(node).textDecorationLine + ' ' + "
                                            "getComputedStyle(node).textDecorationStyle"))  # fmt: skip
    mark = turn.locator(".fn-doubt")
    playwright.expect(mark).to_have_text("no source found")
    playwright.expect(mark).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if folder := os.environ.get("FOOTNOTE_TEST_SCREENSHOT"):
        page.screenshot(path=folder)


def test_a_rewritten_followup_is_corrected_with_a_real_click(site: Site, visit: Visit, chat_server: ChatServer) -> None:
    def answer(prompt: str) -> list[str]:
        if "Rewrite the last question" in prompt:
            return ["Who lived in the tower?"]
        return [f"{QUOTE} [{passage_with(QUOTE, prompt)}]"]

    chat_server.script = answer
    page = visit(site)
    ask(page, QUESTION)
    turn = ask(page, "And who lived in it?")
    playwright.expect(turn.locator(".fn-query")).to_contain_text("Who lived in the tower?")
    turn.locator("summary").click()
    playwright.expect(turn.locator(".fn-parts tbody tr").first).to_be_visible()
    page.get_by_text("Edit the question").click()
    box = page.get_by_role("textbox", name="What was searched for")
    playwright.expect(box).to_have_value("Who lived in the tower?")
    box.fill("How high does the lantern stand?")
    page.get_by_role("button", name="Ask again").click()
    corrected = page.locator('[data-fn-turn="2"]')
    wait_until(corrected, "answered")
    playwright.expect(corrected.locator(".fn-question")).to_have_text("How high does the lantern stand?")
    assert sum("Rewrite the last question" in prompt for prompt in chat_server.asked) == 1
