"""The command line in this process: an empty home, a small encoder in place of SmolLM2, and stdout kept apart."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from app.cli import app
from indexer.encoder import Vectors

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


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The browser of all tests: a second driver beside it cannot start. CHROMIUM=PATH names another one."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
    if not CHROMIUM or not Path(CHROMIUM).exists():
        pytest.skip("no Chromium on this machine; set CHROMIUM to the path of one")
    playwright.expect.set_options(timeout=30_000)  # a busy machine draws a page in more than the five seconds
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass(slots=True)
class WordEncoder:
    """A text is the sum of its words' directions; each word has a random one, drawn by its hash."""

    fingerprint: str = "words-1"
    dim: int = 16
    query_instruction: str = ""
    max_tokens: int = 512
    encoded: list[str] = field(default_factory=list)

    def encode(
        self, texts: Sequence[str], instruction: str = "", on_progress: Callable[[int], None] | None = None
    ) -> Vectors:
        self.encoded += texts
        rows = np.array([sum((self._direction(word) for word in text.split()), np.zeros(self.dim)) for text in texts])
        if on_progress:
            on_progress(len(texts))
        rows = rows.reshape(len(texts), self.dim)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def _direction(self, word: str) -> Vectors:
        seed = int(hashlib.sha256(word.lower().encode()).hexdigest()[:8], 16)
        return np.random.default_rng(seed).standard_normal(self.dim).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.stdout)


Footnote = Callable[..., Outcome]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home; no settings of the user's reach the test."""
    folder = tmp_path / "home"
    monkeypatch.setenv("FOOTNOTE_HOME", str(folder))
    monkeypatch.delenv("FOOTNOTE_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("app.settings.FILE_NAME", "no-such-footnote.toml")
    return folder


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> WordEncoder:
    """The small encoder, in place of the configured one."""
    words = WordEncoder()
    monkeypatch.setattr("app.wiring._encoder", lambda section, models_dir: words)
    return words


@pytest.fixture
def footnote(home: Path, encoder: WordEncoder) -> Footnote:
    """Run one command in this process."""

    def run(*arguments: str | Path) -> Outcome:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        sys.stderr.write(f"{arguments}: {result.exit_code}\n{result.output}")  # shown when a test fails
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    """Three small documents."""
    folder = tmp_path / "papers"
    folder.mkdir()
    texts = {
        "lighthouse.md": "# Lighthouse\n\nThe tower is 34 metres tall and was first lit in 1842.\n",
        "ferry.txt": "The ferry leaves at nine. A ticket costs four crowns.\n",
        "bees.txt": "The bees of the school swarm in May.\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder
