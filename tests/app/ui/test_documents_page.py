"""The Documents page in a real browser, over a real collection: what is added, looked at, repaired and taken out.

FOOTNOTE_TEST_SCREENSHOT=PATH keeps pictures of the page.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.collection import Collection
from tests.app.ui.conftest import Site, Tab, await_clicks, looks, new_home, playwright, running, violations

pytestmark = [pytest.mark.browser, pytest.mark.model]

HOSTILE = "<img src=x onerror=alert(1)> **bold**"
FILES = {
    "lighthouse.md": f"# The lighthouse {HOSTILE}\n\nIt is granite.\n\n## The lantern\n\nIt stands 41 metres high.\n",
    "harbour.md": "# The harbour\n\nThe harbour has two slips.\n",
    "broken.pdf": "x\0\1",
}


@pytest.fixture(scope="module")
def site(chromium: "playwright.Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("library")
    home = new_home(folder)
    (folder / "papers").mkdir()
    for name, text in FILES.items():
        (folder / "papers" / name).write_text(text)
    with running(("ui",), home, folder / "server.log") as site:
        yield site


@pytest.fixture
def page(tab: Tab, site: Site) -> "playwright.Page":
    page = tab(site, "documents")
    page.get_by_role("heading", name="Documents", exact=True).wait_for()
    await_clicks(page)
    return page


def ended(page: "playwright.Page", title: str, told: str) -> "playwright.Locator":
    """Wait for the end of a piece of work, and send its account away."""
    end = page.locator(".fn-ended", has_text=title)
    playwright.expect(end).to_contain_text(re.compile(told), timeout=240_000)
    return end


def dismiss(page: "playwright.Page") -> None:
    page.get_by_role("button", name="Dismiss").click()
    page.locator(".fn-ended").wait_for(state="detached")


def sync(page: "playwright.Page", folder: Path, *, prune: bool = False) -> None:
    page.get_by_role("button", name="Sync a folder").click()
    page.get_by_role("textbox", name="Folder on this machine").fill(str(folder))
    if prune:
        page.get_by_text("Remove documents whose file is gone from it").click()
    page.get_by_role("button", name="Sync", exact=True).click()


def picture(page: "playwright.Page", name: str) -> None:
    if path := os.environ.get("FOOTNOTE_TEST_SCREENSHOT"):
        page.screenshot(path=f"{path}-{name}.png")


def test_a_collection_from_its_first_folder_to_its_last_deletion(site: Site, page: "playwright.Page") -> None:
    papers = site.home.parent / "papers"
    rows = page.get_by_role("region", name="Files").locator("tbody tr")
    sync(page, papers)
    ended(page, "Syncing", "2 indexed, 1 failed")
    dismiss(page)
    playwright.expect(rows).to_have_count(3)
    assert "2 documents" in page.locator(".fn-top").inner_text()
    failed = rows.first.inner_text()
    assert "broken.pdf" in failed and "binary data of an unknown kind. Copy the file again" in failed
    assert page.locator(".fn-table img").count() == 0
    assert HOSTILE in page.locator(".fn-table").inner_text()
    picture(page, "ledger")

    opener = page.get_by_role("button", name="The lighthouse")
    opener.focus()
    page.keyboard.press("Enter")
    sheet = page.locator(".st-key-fn-source")
    assert "It stands 41 metres high." in str(sheet.locator(".fn-body").text_content())
    sheet.get_by_text("Chunks", exact=True).click()
    sheet.get_by_role("heading", name="Chunk 1").wait_for()
    assert "characters 0 to" in sheet.inner_text()
    picture(page, "chunks")
    page.keyboard.press("Escape")
    sheet.wait_for(state="detached")

    (papers / "broken.pdf").write_text("It was a text all the time.")
    page.get_by_role("button", name="Retry failed (1)").click()
    ended(page, "Retrying what failed", "1 indexed")
    dismiss(page)
    nothing_failed = page.get_by_role("button", name="Retry failed (0)")
    playwright.expect(nothing_failed).to_have_count(1)
    assert nothing_failed.is_disabled()

    page.get_by_role("button", name="Check health").click()
    ended(page, "Checking the collection", "everything agrees")
    dismiss(page)

    shutil.rmtree(Collection.open(site.home, "default").generation.folder / "lexical")
    page.get_by_role("button", name="Repair or rebuild").click()
    page.get_by_role("button", name="Check and repair").click()
    ended(page, "Checking and repairing", "repaired: .*lexical")
    dismiss(page)

    page.get_by_text("Collections (1)").click()
    row = page.get_by_role("region", name="Collections").locator("tbody tr")
    assert row.inner_text().split("\t")[:2] == ["default", "3"]
    assert "chunks of at most" in row.inner_text()
    page.get_by_role("button", name="Repair or rebuild").click()
    page.get_by_role("textbox", name="Encoder").fill("no-such-encoder")
    page.get_by_role("button", name="Reindex").click()
    playwright.expect(page.get_by_role("alert")).to_contain_text("There is no encoder no-such-encoder")
    dismiss(page)
    playwright.expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_role("button", name="Repair or rebuild").click()
    page.get_by_role("textbox", name="Encoder").fill("")
    page.get_by_role("spinbutton", name="Tokens of a chunk, at most").fill("32")
    page.get_by_role("button", name="Reindex").click()
    ended(page, "Reindexing", "Generation 2 answers now: .* of at most 32 tokens")
    dismiss(page)
    playwright.expect(page.locator(".fn-top")).to_contain_text("generation 2")

    (papers / "harbour.md").unlink()
    sync(page, papers, prune=True)
    ended(page, "Syncing", "1 pruned")
    dismiss(page)
    playwright.expect(page.get_by_role("button", name="The harbour")).to_have_count(0)

    page.get_by_role("textbox", name="Name").fill("lighthouse")
    page.keyboard.press("Enter")
    playwright.expect(rows).to_have_count(1)
    assert "name=lighthouse" in page.url
    page.get_by_role("button", name="Delete these 1").click()
    page.get_by_role("button", name="Delete 1 file", exact=True).click()
    ended(page, "Deleting 1 file", "1 document and 1 line of the ledger are gone")
    dismiss(page)
    sources = [info.source for info in Collection.open(site.home, "default").documents()]
    assert [Path(source).name for source in sources] == ["broken.pdf"]
    assert site.hosts == {site.host}, "the page spoke to another host"


def test_an_upload_waits_for_another_writer_and_survives_a_reload(site: Site, page: "playwright.Page") -> None:
    collection = Collection.open(site.home, "default", create=True)
    with collection.lock.held("reindex"):
        page.reload()
        page.get_by_text(re.compile("In progress: reindex")).wait_for()
        page.get_by_role("button", name="Add files").click()
        page.locator('input[type="file"]').set_input_files(
            [
                {"name": "boats.md", "mimeType": "text/markdown", "buffer": b"# Boats\n\nThe Constance is red.\n"},
                {"name": "empty.txt", "mimeType": "text/plain", "buffer": b""},
            ]
        )
        waiting = page.get_by_text(re.compile(r"Adding 2 files.*another reindex .*is writing"))
        waiting.wait_for(timeout=240_000)
        page.reload()
        waiting.wait_for()
        assert page.get_by_role("button", name="Check health").is_disabled()
        picture(page, "waiting")
    end = ended(page, "Adding 2 files", "1 indexed, 1 failed")
    assert "empty.txt: failed" in end.inner_text() and "boats.md: indexed" in end.inner_text()
    dismiss(page)
    page.get_by_role("button", name="Boats").wait_for()


@looks
def test_it_fits_and_axe_finds_nothing_serious(tab: Tab, site: Site, scheme: str, width: int, height: int) -> None:
    page = tab(site, "documents", width=width, height=height, scheme=scheme)
    page.get_by_role("button", name="Boats").wait_for()
    await_clicks(page)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    picture(page, f"{width}-{scheme}")
    page.get_by_role("button", name="Sync a folder").click()
    page.get_by_role("textbox", name="Folder on this machine").wait_for()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Boats").click()
    page.locator(".st-key-fn-source").wait_for()
    assert violations(page) == []
