"""Fixtures of the tests of access: two tenants, the API before a model, and a browser."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.settings import ROOT, load_settings

sys.path += [str(Path(__file__).parent), str(ROOT / "tests" / "app" / "api"), str(ROOT / "tests" / "generator")]

from fake_server import FakeServer, serving
from running import Running
from tenants import MARKER, OPEN, SECRET, VAULT, World, sibling


@pytest.fixture
def world(home: Path, footnote: Any, tmp_path: Path) -> World:
    """The collection both use, with a folder of legal's, and one that legal has for itself."""
    for folder in ("open", "legal", "vault"):
        (tmp_path / folder).mkdir()
    (tmp_path / "open" / "menu.md").write_text(OPEN)
    secret = tmp_path / "legal" / f"{MARKER}.html"
    vaulted = tmp_path / "vault" / f"{MARKER}-2.html"
    secret.write_text(SECRET)
    vaulted.write_text(SECRET.replace("nine", "ten"))
    (tmp_path / "legal" / f"{MARKER}.pdf").write_bytes(b"%PDF-1.4 broken")  # failed: its name is in the ledger
    footnote("ingest", tmp_path / "open", "--collection", "shared")
    footnote("ingest", tmp_path / "legal", "--group", "legal", "--collection", "shared")
    footnote("ingest", vaulted, "--collection", VAULT)
    assert footnote("access", "grant", "staff", "--collection", "shared").code == 0
    assert footnote("access", "grant", "legal", "--collection", VAULT).code == 0

    def id_of(collection: str, source: Path) -> str:
        documents = footnote("documents", "--collection", collection, "--json").json["documents"]
        return next(each["id"] for each in documents if each["source"] == str(source))

    return World(
        home,
        id_of("shared", secret),
        id_of(VAULT, vaulted),
        id_of("shared", tmp_path / "open" / "menu.md"),
        (str(secret), str(vaulted)),
    )


@pytest.fixture
def model() -> Iterator[FakeServer]:
    """The model says whatever it was shown, so that a passage it should not have had comes out."""
    with serving() as server:
        server.pieces = ["The canteen merger of soups ", "is served at noon [1]."]
        yield server


@pytest.fixture
def serve(home: Path, encoder: Any, model: FakeServer) -> Iterator[Callable[..., Running]]:
    """Start the API."""
    started: list[Running] = []

    def start() -> Running:
        variables = {"FOOTNOTE_HOME": str(home), "FOOTNOTE_GENERATOR__BASE_URL": model.base_url}
        started.append(Running(load_settings(None, {**variables, "FOOTNOTE_SERVER__RATE_PER_MINUTE": "0"})))
        return started[-1]

    yield start
    for running in started:
        running.stop()


_ui = sibling("footnote_ui_conftest", ROOT / "tests" / "app" / "ui" / "conftest.py")
chat_server = _ui.chat_server  # a model that says what its script tells it
