"""The search page in a real browser, with the real encoder: every stage beside the others.

FOOTNOTE_TEST_SCREENSHOT=PATH keeps a picture of the page.
"""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.app.ui.conftest import Site, playwright

pytestmark = [pytest.mark.browser, pytest.mark.model]


@pytest.fixture(scope="module")
def site(serve: Callable[..., object]) -> Iterator[Site]:
    with serve() as site:
        yield site


@pytest.fixture
def page(chromium: "playwright.Browser", site: Site) -> Iterator["playwright.Page"]:
    page = chromium.new_page(viewport={"width": 1200, "height": 900}, color_scheme="light")
    page.set_default_timeout(60_000)
    page.on("request", lambda request: site.hosts.add(request.url.split("/")[2]) if "//" in request.url else None)
    page.on("dialog", lambda dialog: pytest.fail(f"the page ran a script: {dialog.message}"))
    page.goto(f"{site.url}/search")
    yield page
    page.close()


def look_for(page: "playwright.Page", words: str, filters: str = "") -> None:
    page.get_by_placeholder("Filters").fill(filters)
    box = page.get_by_placeholder("Look for")
    box.fill(words)
    box.press("Enter")


def test_every_stage_is_shown_with_its_scores(site: Site, page: "playwright.Page") -> None:
    look_for(page, "How many keepers lived beside the tower?")
    for stage, name in (("bm25", "Words (BM25)"), ("dense", "Meaning (dense)"), ("convex", "Hybrid")):
        column = page.locator(f'[data-fn-stage="{stage}"]')
        column.wait_for(timeout=180_000)
        assert column.get_by_role("heading").inner_text() == name
    best = page.locator('[data-fn-stage="bm25"] li').first
    assert "lighthouse.md" in best.inner_text()
    assert {"keepers", "tower"} <= set(best.locator("mark").all_inner_texts())
    assert "bm25" in best.inner_text() and "convex" in best.inner_text()
    if picture := os.environ.get("FOOTNOTE_TEST_SCREENSHOT"):
        page.screenshot(path=picture)
    assert site.hosts == {site.host}, "the page spoke to another host"


def test_filters_leave_only_their_documents_and_wrong_ones_are_told(page: "playwright.Page") -> None:
    look_for(page, "lighthouse harbour", "source=harbour.md")
    playwright.expect(page.get_by_role("status")).to_contain_text("1 passage")
    assert set(page.locator(".fn-found .fn-place").all_inner_texts()) == {"harbour.md"}
    look_for(page, "lighthouse harbour", "folder=x")
    page.get_by_text('There is no field "folder"').wait_for()
    look_for(page, "lighthouse harbour", "type=epub")
    page.get_by_text("Nothing matches.").wait_for()
