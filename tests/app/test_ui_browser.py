"""The chat page in a real browser: a real server, the real encoder, and the embedded reader.

How good an answer is, is measured elsewhere; here it must stream, and every footnote must open its own words.

Set FOOTNOTE_TEST_SCREENSHOT to a path to keep a picture of an answer with its source open. CHROMIUM may name the browser.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.settings import ROOT, load_settings

playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
pytestmark = [pytest.mark.browser, pytest.mark.model]

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or ""
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_S, ANSWER_S = 60, 240
LIGHT = """# The lighthouse on Skerry Point

The lighthouse on Skerry Point was built of granite cut on the mainland.

## The lantern

The lantern of the lighthouse stands 41 metres above high water. It was first lit on 3 November 1874.

## The keepers

Three keepers and their families lived in the low white houses beside the tower until the station was automated in 1983.
"""
BREAD = """# Bread of the island kitchen

The starter for the island bread is fed with barley flour every evening at six.

<img src="https://evil.example/pixel.png"> ![pixel](https://evil.example/pixel.png)
"""
FERRY = "# The ferry\n\nThe ferry to Skerry Point is called the Meridian and carries 96 passengers.\n"
HERRING = "# The herring boats\n\nThe red herring boat in the harbour is called the Constance. She was built in 1902.\n"


@dataclass
class Site:
    url: str
    home: Path
    log: Path
    hosts: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
def chromium() -> Iterator["playwright.Browser"]:
    if not CHROMIUM or not Path(CHROMIUM).exists():
        pytest.skip("no Chromium on this machine; set CHROMIUM to the path of one")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(chromium: "playwright.Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    home = _home(folder)
    _ingest(home, folder, "default", {"lighthouse.md": LIGHT, "bread.md": BREAD})
    _ingest(home, folder, "travel", {"ferry.md": FERRY})
    port, log = _free_port(), folder / "server.log"
    code = (
        "from app.settings import load_settings; from app.ui.launch import run_ui; "
        f"raise SystemExit(run_ui(load_settings(), 'default', {port}))"
    )
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, env=_environment(home), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/_stcore/health", server, log)
        yield Site(f"http://127.0.0.1:{port}", home, log)
    finally:
        server.send_signal(2)  # as Ctrl-C: the launcher then ends the server it started
        with suppress(subprocess.TimeoutExpired):
            server.wait(20)
        server.kill()
    assert "Traceback" not in log.read_text()


@pytest.fixture
def page(chromium: "playwright.Browser", site: Site) -> Iterator["playwright.Page"]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.on("request", lambda request: site.hosts.add(request.url.split("/")[2] if "://" in request.url else ""))
    page.goto(site.url)
    page.get_by_role("heading", name="Ask your documents").wait_for()
    yield page
    context.close()


def _home(folder: Path) -> Path:
    """A home of its own that shares the converted model with this checkout: converting takes half a minute."""
    home = folder / "home"
    home.mkdir()
    models = load_settings().models_dir
    models.mkdir(parents=True, exist_ok=True)
    (home / "models").symlink_to(models)
    return home


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "FOOTNOTE_HOME": str(home), "HF_HUB_OFFLINE": "1"}


def _ingest(home: Path, folder: Path, collection: str, files: dict[str, str]) -> None:
    source = folder / collection
    source.mkdir()
    for name, text in files.items():
        (source / name).write_text(text)
    command = [sys.executable, "-m", "app", "ingest", str(source), "--collection", collection]
    done = subprocess.run(command, cwd=ROOT, env=_environment(home), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        assert server.poll() is None, log.read_text()
        time.sleep(0.2)
    raise AssertionError(f"the page did not start in {START_S} s:\n{log.read_text()}")


def _ask(page: "playwright.Page", question: str) -> "playwright.Locator":
    """Ask, and return the finished turn."""
    number = page.locator(".fn-turn").count()
    box = page.get_by_role("textbox", name="Ask your documents")
    box.fill(question)
    box.press("Enter")
    turn = page.locator(f'[data-fn-turn="{number}"]')
    turn.wait_for()
    playwright.expect(turn).to_have_attribute(
        "data-fn-state", re.compile("answered|abstained|failed"), timeout=ANSWER_S * 1000
    )
    return turn


def _open_first_footnote(page: "playwright.Page", turn: "playwright.Locator") -> str:
    """Click the first chip; return the words that are marked in the source."""
    turn.locator("button.fn-chip").first.click()
    mark = page.locator(".fn-sheet mark")
    mark.wait_for()
    playwright.expect(mark).to_be_in_viewport()
    return str(mark.text_content())


def test_a_question_streams_and_its_footnote_opens_the_quoted_words(page: "playwright.Page", site: Site) -> None:
    box = page.get_by_role("textbox", name="Ask your documents")
    box.fill("How high above high water does the lantern of the lighthouse stand?")
    box.press("Enter")
    turn = page.locator('[data-fn-turn="0"]')
    # While it is being worked on the page says what is happening, and the words arrive before the end.
    playwright.expect(turn).to_have_attribute("data-fn-state", "running")
    turn.locator(".fn-stage").wait_for()
    page.locator('[data-fn-turn="0"][data-fn-state="running"] .fn-answer').wait_for(timeout=ANSWER_S * 1000)
    playwright.expect(turn).to_have_attribute("data-fn-state", "answered", timeout=ANSWER_S * 1000)

    words = _open_first_footnote(page, turn)
    quoted = turn.locator(".fn-note q").first.text_content()
    assert words == quoted
    assert words in LIGHT
    source = page.get_by_role("region", name="Source")
    assert "The lighthouse on Skerry Point" in source.inner_text()
    assert "lighthouse.md" in source.locator(".fn-path").inner_text()
    assert source.locator(".fn-text").text_content() == LIGHT.strip()

    if picture := os.environ.get("FOOTNOTE_TEST_SCREENSHOT"):
        page.screenshot(path=picture)

    # The keyboard closes it, and the focus is back on the footnote; nothing was asked again.
    page.keyboard.press("Escape")
    source.wait_for(state="detached")
    playwright.expect(turn.locator("button.fn-chip").first).to_be_focused()
    assert page.locator(".fn-turn").count() == 1
    assert site.hosts == {site.url.split("/")[2]}, "the page spoke to another host"


def test_a_new_collection_answers_from_what_is_uploaded_to_it(page: "playwright.Page", site: Site) -> None:
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
    outcomes.wait_for(timeout=ANSWER_S * 1000)
    told = outcomes.inner_text()
    assert "boats.md: added" in told
    assert "empty.txt: not added" in told
    assert (site.home / "uploads" / "boats" / "boats.md").read_text() == HERRING

    turn = _ask(page, "What is the red herring boat in the harbour called?")
    turn.locator(".fn-note", has_text="The herring boats").first.click()
    mark = page.locator(".fn-sheet mark")
    playwright.expect(mark).to_be_in_viewport()
    assert str(mark.text_content()) in HERRING
    assert "boats.md" in page.locator(".fn-sheet .fn-path").inner_text()


def test_another_collection_answers_from_its_own_documents(page: "playwright.Page") -> None:
    page.get_by_role("combobox", name="Collection").click()
    page.get_by_role("option", name="travel").click()
    page.get_by_text("Documents (1)").wait_for()
    turn = _ask(page, "What is the ferry to Skerry Point called?")
    assert turn.locator(".fn-note").count() >= 1
    assert set(turn.locator(".fn-place").all_inner_texts()) == {"The ferry"}


def test_a_document_is_shown_as_the_text_it_is_and_can_be_removed(page: "playwright.Page", site: Site) -> None:
    page.get_by_text("Documents (").click()
    page.locator(".fn-document", has_text="Bread of the island kitchen").click()
    source = page.get_by_role("region", name="Source")
    source.wait_for()
    assert source.locator(".fn-text").text_content() == BREAD.strip()
    assert source.locator("img, script, a").count() == 0
    page.get_by_role("button", name="Remove…").click()
    page.get_by_role("button", name="Remove from the collection").click()
    source.wait_for(state="detached")
    playwright.expect(page.locator(".fn-document", has_text="Bread of the island kitchen")).to_have_count(0)
    assert "evil.example" not in site.hosts
