"""The search page in a real browser, with the real encoder: every stage beside the others.

FOOTNOTE_TEST_SCREENSHOT=PATH keeps a picture of the page.
"""

import os
from collections.abc import Iterator

import pytest

from app.resolved import chunk_settings
from app.settings import load_settings
from app.wiring import build_encoder
from indexer.collection import Collection
from indexer.ingest import ingest
from tests.app.ui.conftest import Site, Tab, looks, new_home, playwright, running, violations

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


ABROAD = {
    "haus.md": "# Häuser\n\nDie Versicherungen zahlen für beschädigte Häuser an der Küste nicht.\n",
    "大学.md": "# 大学\n\n东京大学的图书馆收藏了许多古代地图。冬天开放到晚上九点。\n",
    "مكتبة.md": "# المكتبة\n\nتُغلَق المكتبة يوم الاثنين وتفتح أبوابها مساء الثلاثاء.\n",
}


@pytest.fixture(scope="module")
def abroad(chromium: "playwright.Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A German collection, with a document in Chinese and one in Arabic."""
    folder = tmp_path_factory.mktemp("abroad")
    home, settings = new_home(folder), load_settings()
    for name, text in ABROAD.items():
        (folder / name).write_text(text)
    collection = Collection.open(home, "abroad", create=True, language="german")
    files = [folder / name for name in ABROAD]
    assert ingest(files, collection, build_encoder(settings), chunk_settings(settings)).count("indexed") == 3
    with running(("ui", "--collection", "abroad"), home, folder / "server.log") as site:
        yield site


def test_words_are_marked_as_the_language_and_the_script_count_them(tab: Tab, abroad: Site) -> None:
    page = tab(abroad, "search")
    for words, place, marked in (
        ("Zahlt eine Versicherung das Haus?", "haus.md", {"Versicherungen", "Häuser"}),
        ("图书馆里有地图吗", "大学.md", {"图书馆", "地图"}),
        ("المكتبة تغلق الاثنين", "مكتبة.md", {"تُغلَق", "المكتبة", "الاثنين"}),
    ):
        look_for(page, words)
        best = page.locator('[data-fn-stage="bm25"] li', has_text=place).first
        best.wait_for(timeout=180_000)
        assert set(best.locator("mark").all_inner_texts()) == marked
        direction = best.locator("p").first.evaluate("element => getComputedStyle(element).direction")
        assert direction == ("rtl" if place == "مكتبة.md" else "ltr")
        if picture := os.environ.get("FOOTNOTE_TEST_SCREENSHOT"):
            page.screenshot(path=f"{picture}-{place}.png")
