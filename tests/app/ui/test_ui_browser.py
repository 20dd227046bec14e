"""The page with everything in this process: the real encoder and the embedded reader, as after `footnote demo`.

How good an answer is, is measured elsewhere; here every footnote must open its own words.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.ui.conftest import DOCUMENTS, Site, Visit, ask, choose, marked_words, playwright, serving, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.model]

HERRING = "# The herring boats\n\nThe red herring boat in the harbour is called the Constance. She was built in 1902.\n"


@pytest.fixture(scope="module")
def site(ingested: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(ingested, tmp_path_factory.mktemp("embedded")) as site:
        yield site


def test_every_footnote_opens_the_words_it_quotes(site: Site, visit: Visit) -> None:
    page = visit(site)
    turn = ask(page, "How high above high water does the lantern of the lighthouse stand?")
    wait_until(turn, "answered")
    chips = turn.locator("button.fn-chip")
    assert chips.count() >= 1
    for number in range(chips.count()):
        chips.nth(number).click()
        playwright.expect(page.locator(".fn-sheet")).to_have_attribute(
            "data-fn-source", str(chips.nth(number).get_attribute("data-fn-open"))
        )
        words = marked_words(page)
        assert words in turn.locator(".fn-note q").all_text_contents()
        assert any(words in text for text in DOCUMENTS["default"].values())
    if picture := os.environ.get("FOOTNOTE_TEST_SCREENSHOT"):
        page.screenshot(path=picture)
    assert site.hosts == {site.host}, "the page spoke to another host"


def test_a_new_collection_answers_from_what_is_uploaded_to_it(site: Site, visit: Visit) -> None:
    page = visit(site)
    page.get_by_role("button", name="New collection").click()
    page.get_by_role("textbox", name="Name").fill("boats")
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("heading", name="No documents yet").wait_for()
    page.locator('input[type="file"]').set_input_files(
        [
            {"name": "boats.md", "mimeType": "text/markdown", "buffer": HERRING.encode()},
            {"name": "empty.txt", "mimeType": "text/plain", "buffer": b""},
        ]
    )
    outcomes = page.get_by_role("status", name="Uploaded files")
    outcomes.wait_for(timeout=240_000)
    assert "boats.md: added" in outcomes.inner_text()
    assert "empty.txt: not added" in outcomes.inner_text()
    assert (site.home / "uploads" / "boats" / "boats.md").read_text() == HERRING

    turn = ask(page, "What is the red herring boat in the harbour called?")
    turn.locator(".fn-note").first.click()
    assert marked_words(page) in HERRING
    assert page.locator(".fn-sheet .fn-path").inner_text().endswith("boats.md")


def test_another_collection_answers_from_its_own_documents(site: Site, visit: Visit) -> None:
    page = visit(site)
    choose(page, "travel")
    turn = ask(page, "What is the ferry to Skerry Point called?")
    assert set(turn.locator(".fn-place").all_inner_texts()) == {"The ferry"}


def test_a_document_is_shown_as_the_text_it_is_and_can_be_removed(site: Site, visit: Visit) -> None:
    page = visit(site)
    choose(page, "kitchen")
    page.get_by_text("Documents (1)").click()
    bread = page.locator(".fn-document", has_text="Bread of the island kitchen")
    bread.click()
    source = page.get_by_role("region", name="Source")
    source.wait_for()
    assert source.locator(".fn-text").text_content() == DOCUMENTS["kitchen"]["bread.md"].strip()
    assert source.locator("img, script, a").count() == 0
    page.get_by_role("button", name="Remove…").click()
    page.get_by_role("button", name="Remove from the collection").click()
    source.wait_for(state="detached")
    playwright.expect(bread).to_have_count(0)
    assert not any("evil.example" in host for host in site.hosts)
