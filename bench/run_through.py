"""A reader's way through the pages, from the first visit to a comparison of two runs, timed and pictured at each step.

    python -m bench.run_through [--out docs/run-through]

It starts `footnote ui` over an empty home of its own, with the models of the configured one, and whatever the settings
say of the model server (FOOTNOTE_GENERATOR__BASE_URL). Headless Chromium (CHROMIUM=PATH names another) uploads three
sample documents, asks, opens the footnote in the PDF, asks on, judges, measures the search and compares it with an
earlier run of the other BM25 engine. A step's own time is what is left of it besides the model's: the answer's stages,
loading and encoding at an upload, and the searches of a measurement. Under 3 s is wanted on an idle machine, so the
machine's load is told, too. The last line is JSON.
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from app.conversations import Conversations
from app.database import Database
from app.settings import ROOT, load_settings
from eval.run import load_run
from indexer.collection import Collection

WANTED_S = 3.0
CORPUS = ROOT / "data" / "corpus"
FILES = [
    CORPUS / "council" / "budget-2023.pdf",
    CORPUS / "island" / "walks.pdf",
    CORPUS / "lighthouse" / "hollow-head.md",
]
QUESTION = "How many passing places are there upon the island?"
FOLLOW_UP = "And how many signs of them will be renewed?"
LONGEST_MS = 600_000  # of the model on a busy machine


@dataclass(frozen=True, slots=True)
class Step:
    """What a step took, in seconds."""

    name: str
    total_s: float
    model_s: float

    @property
    def own_s(self) -> float:
        return max(0.0, self.total_s - self.model_s)


class Walk:
    """Takes the steps of a way through the pages, and a picture after each."""

    def __init__(self, page: Page, home: Path, out: Path) -> None:
        self.page, self.home, self.out = page, home, out
        self.steps: list[Step] = []

    def step(self, name: str, act: Callable[[], float]) -> None:
        """Time `act`, which returns the model's own seconds."""
        began = time.monotonic()
        model_s = act()
        self.steps.append(Step(name, time.monotonic() - began, model_s))
        self.page.wait_for_timeout(1_000)  # for pictures and fonts; the time is taken
        picture = (
            Image.open(BytesIO(self.page.screenshot())).convert("RGB").quantize(colors=128, dither=Image.Dither.NONE)
        )
        picture.save(self.out / f"{len(self.steps)}-{name.replace(' ', '-')}.png", optimize=True)

    def visit(self) -> float:
        self.page.get_by_role("heading", name="No documents yet").wait_for()
        return 0.0

    def upload(self) -> float:
        loading = self.page.get_by_text("Loading the encoder")
        self.page.locator('input[type="file"]').set_input_files(FILES)
        loading.wait_for()
        began = time.monotonic()
        loading.wait_for(state="detached", timeout=LONGEST_MS)
        loaded_s = time.monotonic() - began
        outcomes = self.page.get_by_role("status", name="Uploaded files")
        expect(outcomes.get_by_role("listitem")).to_have_count(len(FILES), timeout=LONGEST_MS)
        rows = Collection.open(self.home, "default").files()
        return loaded_s + sum(row.encode_ms for row in rows) / 1000

    def ask(self, question: str) -> float:
        number = self.page.locator(".fn-turn").count()
        box = self.page.get_by_role("textbox", name="Ask your documents")
        box.fill(question)
        box.press("Enter")
        turn = self.page.locator(f'[data-fn-turn="{number}"]')
        ended = re.compile("^(answered|abstained|failed)$")
        expect(turn).to_have_attribute("data-fn-state", ended, timeout=LONGEST_MS)
        self.page.get_by_role("button", name="Regenerate").wait_for()
        conversation = re.search(r"[?&]c=([^&]+)", self.page.url)
        assert conversation, "the address names the conversation"
        return Conversations(Database(self.home)).turns(conversation[1])[number].elapsed_s

    def open_footnote(self) -> float:
        self.page.locator("button.fn-chip").first.click()
        self.page.get_by_role("img", name=re.compile("Page 2 of")).wait_for()
        expect(self.page.locator(".fn-box").first).to_be_in_viewport()
        return 0.0

    def judge(self) -> float:
        self.page.get_by_role("radio", name="Helpful", exact=True).last.click()
        self.page.get_by_role("textbox", name="What was good? (optional)").wait_for()
        self.page.get_by_role("textbox", name="What the answer should be (optional)").wait_for()
        return 0.0

    def measure(self) -> float:
        self.page.get_by_role("link", name="Evaluation").click()
        self.page.get_by_text("New run", exact=True).click()
        self.page.get_by_role("button", name="Begin").click()
        self.page.get_by_role("button", name="Open the run").click(timeout=LONGEST_MS)
        self.page.get_by_role("region", name="Scores").wait_for()
        self.page.locator("figure img").first.wait_for()
        return sum(sum(record.timings_ms.values()) for record in load_run(self.home, "last").records) / 1000

    def compare(self) -> float:
        self.page.get_by_text("Compare", exact=True).click()
        self.page.get_by_role("region", name="Cases of both").wait_for()
        return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "run-through", metavar="DIR")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as url, sync_playwright() as driver:
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = driver.chromium.launch(executable_path=chromium, args=["--headless=new", "--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        page.set_default_timeout(120_000)
        walk = Walk(page, Path(folder), out)
        walk.step("first visit", lambda: _first(walk, url))
        walk.step("upload", walk.upload)
        walk.step("question", lambda: walk.ask(QUESTION))
        walk.step("footnote", walk.open_footnote)
        page.keyboard.press("Escape")
        walk.step("follow-up", lambda: walk.ask(FOLLOW_UP))
        walk.step("thumb", walk.judge)
        walk.step("evaluation", walk.measure)
        walk.step("compare", walk.compare)
        browser.close()
    tell(walk.steps)


def _first(walk: Walk, url: str) -> float:
    walk.page.goto(url)
    return walk.visit()


@contextmanager
def served(home: Path) -> Iterator[str]:
    """A page over a home that holds one run, until the block ends."""
    (home / "models").symlink_to(load_settings().models_dir)
    environment = {**os.environ, "FOOTNOTE_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    earlier = [
        sys.executable,
        "-m",
        "app",
        "eval",
        "retrieval",
        "--dataset",
        "data/questions",
        "--modes",
        "bm25",
        "--json",
    ]
    subprocess.run(
        earlier,
        cwd=ROOT,
        env={**environment, "FOOTNOTE_RETRIEVER__LEXICAL_ENGINE": "rank-bm25"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "app", "ui", "--port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while server.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{url}/_stcore/health", timeout=5):
                break
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def tell(steps: list[Step]) -> None:
    """Print the steps as a table, then as JSON."""
    print(f"{'':14}{'total':>8}{'model':>8}{'own':>8}   s")
    for step in steps:
        print(f"{step.name:14}{step.total_s:8.1f}{step.model_s:8.1f}{step.own_s:8.1f}")
    told = {
        "bench": "run_through",
        "steps": [{**asdict(step), "own_s": step.own_s} for step in steps],
        "wanted_s": WANTED_S,
        "within": all(step.own_s <= WANTED_S for step in steps),
        "load_1min": os.getloadavg()[0],
        "processors": os.cpu_count(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
