"""A real server of the page with real collections, a real browser, and a chat server that writes when it is told to.

FOOTNOTE_TEST_SCREENSHOT=PATH keeps a picture of an answer with its source open.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.built import recipe_of
from app.resolved import chunk_settings
from app.settings import ROOT, load_settings
from app.wiring import build_encoder
from indexer.collection import Collection
from indexer.ingest import ingest

playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")

START_S = 90
UI = ("ui", "--collection", "default")
BUDGET = ROOT / "data" / "corpus" / "council" / "budget-2023.pdf"
DOCUMENTS = {
    "default": {
        "lighthouse.md": """# The lighthouse on Skerry Point

The lighthouse on Skerry Point was built of granite cut on the mainland.

## The lantern

The lantern of the lighthouse stands 41 metres above high water. It was first lit on 3 November 1874.

## The keepers

Three keepers and their families lived in the low white houses beside the tower until it was automated in 1983.
""",
        "harbour.md": """# The harbour of Skerry Point

The harbour has two slips and a crane that lifts four tonnes.
""",
    },
    "kitchen": {
        "bread.md": """# Bread of the island kitchen

The starter for the island bread is fed with barley flour every evening at six.

<img src="https://evil.example/pixel.png"> ![pixel](https://evil.example/pixel.png)
""",
    },
    "travel": {
        "ferry.md": "# The ferry\n\nThe ferry to Skerry Point is called the Meridian and carries 96 passengers.\n",
    },
}
Tab = Callable[..., "playwright.Page"]
Visit = Callable[..., "playwright.Page"]
DESK, PHONE = (1280, 800), (390, 844)


def looks(test: Callable[..., None]) -> Callable[..., None]:
    """Runs a test on a screen and on a phone, in the light and in the dark."""
    sizes = pytest.mark.parametrize(("width", "height"), [DESK, PHONE], ids=["desk", "phone"])
    return sizes(pytest.mark.parametrize("scheme", ["light", "dark"])(test))


@dataclass
class Site:
    """A running page, and every host that a browser on it has spoken to."""

    url: str
    home: Path
    hosts: set[str] = field(default_factory=set)

    @property
    def host(self) -> str:
        return self.url.split("/")[2]


class ChatServer(ThreadingHTTPServer):
    """Speaks as much of the OpenAI protocol as the page's model client needs.

    `script` turns the text of a request into the pieces of the answer. At the piece "|" it waits for `go`, at "!" it
    hangs up.
    """

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.script: Callable[[str], list[str]] = lambda text: ["Yes."]
        self.go = threading.Event()
        self.asked: list[str] = []
        self._begin()

    def _begin(self) -> None:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def end(self) -> None:
        """Let nobody be answered any more at this port."""
        self.go.set()
        self.shutdown()
        self.server_close()

    def begin_again(self) -> None:
        """Answer again, at the same port."""
        self.socket = socket.socket(self.address_family, self.socket_type)
        self.server_bind()
        self.server_activate()
        self._begin()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is no error here."""


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._begin("application/json")
        model = {"id": "scripted", "object": "model", "created": 0, "owned_by": "test", "max_model_len": 4096}
        self.wfile.write(json.dumps({"object": "list", "data": [model]}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.endswith("/chat/completions"):
            return self.send_error(404)
        text = "\n".join(message["content"] for message in body["messages"])
        self.server.asked.append(text)
        pieces = self.server.script(text)
        if not pieces:
            return self.send_error(500)
        self._begin("text/event-stream")
        for piece in pieces:
            if piece == "!":
                return None
            if piece == "|":
                self.server.go.wait(60)
            else:
                self._send({"content": piece}, None)
        self._send({}, "stop")
        self.wfile.write(b"data: [DONE]\n\n")
        return None

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def _send(self, delta: dict[str, str], reason: str | None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk = {
            "id": "1",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": "scripted",
            "choices": [choice],
        }
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.flush()


def passage_with(words: str, prompt: str) -> int:
    """The number under which a prompt gives the passage that holds these words."""
    for number, text in re.findall(r'number="(\d+)"[^>]*>(.*?)</', prompt, re.DOTALL):
        if words in text:
            return int(number)
    raise AssertionError(f"no passage of the prompt has {words!r}")


@pytest.fixture(scope="session")
def context(chromium: "playwright.Browser") -> Iterator["playwright.BrowserContext"]:
    """One cache for all tabs: a fresh one reads, parses and compiles Streamlit's scripts anew, for seconds."""
    context = chromium.new_context(permissions=["clipboard-read", "clipboard-write"])
    # Of what the tab before left behind, the cache alone is wanted: not a sidebar that it folded.
    context.add_init_script("sessionStorage.begun ??= localStorage.clear() ?? 1")
    yield context
    context.close()


@pytest.fixture
def tab(context: "playwright.BrowserContext") -> Iterator[Tab]:
    """Opens an address of a site in a tab of its own, which is a session of its own to the server."""
    opened = []

    def open_tab(
        site: Site, path: str = "", *, width: int = 1280, height: int = 900, scheme: str = "light"
    ) -> "playwright.Page":
        page = context.new_page()
        opened.append(page)
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        page.set_default_timeout(60_000)
        page.on("request", lambda request: site.hosts.add(request.url.split("/")[2]) if "//" in request.url else None)
        page.on("dialog", lambda dialog: pytest.fail(f"the page ran a script: {dialog.message}"))
        page.goto(f"{site.url}/{path}")
        return page

    yield open_tab
    for page in opened:
        page.close()


@pytest.fixture(scope="session")
def ingested(chromium: "playwright.Browser", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with some collections, which shares the converted model with this checkout: converting takes a while."""
    folder = tmp_path_factory.mktemp("site")
    home = new_home(folder)
    settings = load_settings()
    encoder = build_encoder(settings)
    for name, files in DOCUMENTS.items():
        source = folder / name
        source.mkdir()
        for file, text in files.items():
            (source / file).write_text(text)
    sources = {name: folder / name for name in DOCUMENTS} | {"council": BUDGET}
    for name, source in sources.items():
        collection = Collection.open(home, name, create=True)
        report = ingest([source], collection, encoder, chunk_settings(settings), recipe=recipe_of(settings.encoder))
        assert report.count("failed") == 0, report.files
    return home


def new_home(folder: Path) -> Path:
    """An empty home with the models of this checkout."""
    home = folder / "home"
    home.mkdir()
    models = load_settings().models_dir
    models.mkdir(parents=True, exist_ok=True)
    (home / "models").symlink_to(models)
    return home


@contextmanager
def running(arguments: Sequence[str | Path], home: Path, log: Path, **settings: str) -> Iterator[Site]:
    """A command that serves a page, until the block ends."""
    port = _free_port()
    command = [sys.executable, "-m", "app", *map(str, arguments), "--port", str(port)]
    with log.open("w") as output:
        server = subprocess.Popen(
            command, cwd=ROOT, env={**_environment(home), **settings}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/_stcore/health", server, log)
        yield Site(f"http://127.0.0.1:{port}", home)
    finally:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(20)
        server.kill()
    assert "Traceback" not in log.read_text(), log.read_text()


@contextmanager
def serving(ingested: Path, folder: Path, **settings: str) -> Iterator[Site]:
    """The page as `footnote ui` serves it, over a copy of the home, to which its tests may add what they like."""
    home = Path(shutil.copytree(ingested, folder / "home", symlinks=True))
    with running(UI, home, folder / "server.log", **settings) as site:
        yield site


@pytest.fixture(scope="session")
def chat_server() -> Iterator[ChatServer]:
    """The model behind the site, which says what the test's `script` tells it to."""
    server = ChatServer()
    yield server
    server.end()


@pytest.fixture(scope="session")
def site(ingested: Path, chat_server: ChatServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A page with a scripted model, for all tests that take nothing out of its collections and add nothing to them:
    each server loads the encoder anew, which takes longer than most tests."""
    with serving(
        ingested, tmp_path_factory.mktemp("scripted"), FOOTNOTE_GENERATOR__BASE_URL=chat_server.base_url
    ) as site:
        yield site


@pytest.fixture
def visit(tab: Tab) -> Visit:
    """Opens the chat in a fresh session and waits until it can be used."""

    def open_chat(site: Site, width: int = 1280, height: int = 800, scheme: str = "light") -> "playwright.Page":
        page = tab(site, width=width, height=height, scheme=scheme)
        page.get_by_role("heading", name="Ask your documents").wait_for()
        await_clicks(page)
        return page

    return open_chat


def ask(page: "playwright.Page", question: str, *, until: str = "answered|abstained|failed") -> "playwright.Locator":
    """Ask, and return the turn once it is in one of the states."""
    number = page.locator(".fn-turn").count()
    box = page.get_by_role("textbox", name="Ask your documents")
    box.fill(question)
    box.press("Enter")
    turn = page.locator(f'[data-fn-turn="{number}"]')
    wait_until(turn, until)
    return turn


def await_clicks(page: "playwright.Page") -> None:
    """Wait until clicks on footnotes are listened to."""
    page.locator("[data-fn-listening]").wait_for(state="attached")


def settle(page: "playwright.Page") -> None:
    """Wait until the server has drawn the whole page: what it has not drawn yet stands there, pale."""
    page.locator('[data-test-script-state="notRunning"]').wait_for(state="attached")


def violations(page: "playwright.Page") -> list[str]:
    """What axe-core finds serious or critical."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    settle(page)
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{one['impact']}: {one['help']}: {[node['html'][:200] for node in one['nodes']]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def choose(page: "playwright.Page", collection: str) -> None:
    """Go over to a collection that holds one document; on a phone the sidebar is opened for that."""
    settle(page)
    unfold = page.get_by_test_id("stExpandSidebarButton")
    if folded := unfold.is_visible():
        unfold.click()
    box, option = page.get_by_role("combobox", name="Collection"), page.get_by_role("option", name=collection)
    box.click()
    with suppress(playwright.TimeoutError):
        option.wait_for(timeout=5_000)
    if not option.is_visible():  # the sidebar was still sliding
        box.click()
    option.click()
    page.get_by_text("Documents (1)").wait_for()
    if folded:
        page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()
        unfold.wait_for()
    settle(page)


def wait_until(turn: "playwright.Locator", states: str) -> None:
    """Wait for a state; the first question of a server also waits for its models."""
    playwright.expect(turn).to_have_attribute("data-fn-state", re.compile(f"^({states})$"), timeout=240_000)


def marked_words(page: "playwright.Page") -> str:
    """The words that are marked in the open source, once they are in view."""
    mark = page.locator(".fn-sheet mark")
    playwright.expect(mark).to_be_in_viewport()
    return str(mark.text_content())


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "FOOTNOTE_HOME": str(home), "HF_HUB_OFFLINE": "1"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        assert server.poll() is None, log.read_text()
        time.sleep(0.2)
    raise AssertionError(f"the page did not start in {START_S} s:\n{log.read_text()}")
