"""The whole loop: thumbs on the page become pairs, the pairs an adapter that learned them, the adapter the index."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.settings import ROOT, Settings, load_settings
from app.wiring import build_encoder
from indexer.llm2vec.training.pairs import Pair, read_pairs
from tests.app.ui.conftest import ChatServer, Site, ask, passage_with, playwright, serving, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.model]

LANTERN = "The lantern of the lighthouse stands 41 metres above high water."
KEEPERS = "Three keepers and their families lived in the low white houses beside the tower"
CRANE = "The harbour has two slips and a crane that lifts four tonnes."
GRANITE = "The lighthouse on Skerry Point was built of granite cut on the mainland."
# What is asked, the words of the passage that the model repeats, and whether the reader likes that.
ASKED = {
    "How high does the light of Skerry Point hang?": (LANTERN, True),
    "Which people stayed near the lighthouse?": (KEEPERS, True),
    "What can be hoisted at the harbour?": (CRANE, True),
    "Which stone is the lighthouse made of?": (KEEPERS, False),
}
MOVED = 0.02  # of cosine; the run is the same each time but for the processor's rounding


@pytest.fixture(scope="module")
def site(ingested: Path, chat_server: ChatServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    chat_server.script = repeat
    folder, address = tmp_path_factory.mktemp("loop"), chat_server.base_url
    with serving(ingested, folder, FOOTNOTE_GENERATOR__BASE_URL=address) as site:  # one of its own: it is reindexed
        yield site


def repeat(prompt: str) -> list[str]:
    """The words that are planned for the question, and the passage that has them."""
    words = next(words for question, (words, _) in ASKED.items() if question in prompt)
    return [f"{words.rstrip('.')} [{passage_with(words, prompt)}]."]


def run(home: Path, *arguments: str | Path) -> Any:
    """The document that a command prints."""
    environment = {**os.environ, "FOOTNOTE_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "app", *map(str, arguments), "--json"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def judge(page: "playwright.Page", question: str, is_liked: bool) -> None:
    """Ask in a conversation of its own, and say what the answer is worth; a bad one is corrected."""
    page.get_by_role("button", name="New chat").click()
    page.get_by_role("heading", name="Ask your documents").wait_for()
    playwright.expect(page.locator(".fn-turn")).to_have_count(0)  # the last conversation's still stands there, pale
    wait_until(ask(page, question), "answered")
    page.get_by_role("radio", name="Helpful" if is_liked else "Not helpful", exact=False).first.click()
    if not is_liked:
        page.get_by_role("textbox", name="What the answer should be (optional)").fill(GRANITE)
    page.get_by_role("button", name="No, thanks" if is_liked else "Send", exact=True).click()
    page.get_by_role("button", name="Send", exact=True).wait_for(state="detached")


def margin(settings: Settings, pairs: list[Pair]) -> float:
    """How much nearer than its negatives a positive is, by cosine, over all pairs."""
    encoder = build_encoder(settings)
    margins = []
    for pair in pairs:
        anchor, positive, *negatives = encoder.encode([pair.anchor, pair.positive, *pair.negatives])
        margins += [float(anchor @ positive - anchor @ negative) for negative in negatives]
    return float(np.mean(margins))


def test_thumbs_become_an_adapter_that_learned_them(
    site: Site, visit: Callable[..., "playwright.Page"], tmp_path: Path
) -> None:
    page = visit(site)
    for question, (_, is_liked) in ASKED.items():
        judge(page, question, is_liked)

    pairs_file, adapter = tmp_path / "pairs.jsonl", tmp_path / "adapter"
    told = run(site.home, "eval", "export", "--feedback", "pairs", "--out", pairs_file)
    assert (told["thumbs"], told["written"], told["left_out"]["thumbs"]) == (4, 4, {})
    pairs = read_pairs(pairs_file)
    expected = {question: words if is_liked else GRANITE for question, (words, is_liked) in ASKED.items()}
    assert {pair.anchor for pair in pairs} == set(expected)
    assert all(expected[pair.anchor] in pair.positive and pair.negatives for pair in pairs)
    (corrected,) = [pair for pair in pairs if GRANITE in pair.positive]
    assert KEEPERS in corrected.negatives[0], "what a disliked answer cites is a hard negative"

    options = ("--steps", "4", "--batch", "4", "--max-tokens", "48", "--learning-rate", "3e-4")
    run(site.home, "train", "contrastive", "--pairs", pairs_file, "--out", adapter, *options)
    before = load_settings(None, {"FOOTNOTE_HOME": str(site.home)})
    after = load_settings(None, {"FOOTNOTE_HOME": str(site.home), "FOOTNOTE_ENCODER__ADAPTER": str(adapter)})
    first, second = margin(before, pairs), margin(after, pairs)
    assert second > first + MOVED

    assert run(site.home, "reindex", "--encoder", adapter)["generation"] == 2
    assert run(site.home, "status")["built_with"]["encoder"].endswith("+adapter")
    best = run(site.home, "search", "Which stone is the lighthouse made of?", "--mode", "dense")["hits"][0]
    assert GRANITE in best["text"]
