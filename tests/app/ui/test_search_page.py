"""The search page in a real browser, with the real encoder: every stage beside the others.

FOOTNOTE_TEST_SCREENSHOT=PATH keeps a picture of the page.
"""

import os

import pytest

from tests.app.ui.conftest import Site, Tab, looks, playwright, violations

pytestmark = [pytest.mark.browser, pytest.mark.model]


@pytest.fixture
def page(tab: Tab, site: Site) -> "playwright.Page":
    return tab(site, "search")


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


@looks
def test_it_fits_and_axe_finds_nothing_serious(tab: Tab, site: Site, scheme: str, width: int, height: int) -> None:
    page = tab(site, "search", width=width, height=height, scheme=scheme)
    page.get_by_placeholder("Look for").wait_for()
    assert violations(page) == []
    look_for(page, "How many keepers lived beside the tower?")
    page.locator(".fn-found").first.wait_for()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if picture := os.environ.get("FOOTNOTE_TEST_SCREENSHOT"):
        page.screenshot(path=f"{picture}-{width}-{scheme}.png")


def test_filters_leave_only_their_documents_and_wrong_ones_are_told(page: "playwright.Page") -> None:
    look_for(page, "lighthouse harbour", "source=harbour.md")
    playwright.expect(page.get_by_role("status")).to_contain_text("1 passage")
    found = page.locator(".fn-found .fn-place")
    found.first.wait_for()
    assert set(found.all_inner_texts()) == {"harbour.md"}
    look_for(page, "lighthouse harbour", "folder=x")
    page.get_by_text('There is no field "folder"').wait_for()
    look_for(page, "lighthouse harbour", "type=epub")
    page.get_by_text("Nothing matches.").wait_for()
