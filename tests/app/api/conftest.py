"""A real server on a free port, with real collections, before a small server that speaks as a model."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.settings import ROOT, load_settings

sys.path += [str(Path(__file__).parent), str(ROOT / "tests" / "generator")]  # the fake model server lives there

from fake_server import FakeServer, serving
from running import Running

Serve = Callable[..., Running]


@pytest.fixture
def model() -> Iterator[FakeServer]:
    """The model: says that the tower is 34 metres tall, from passage 1."""
    with serving() as server:
        server.pieces = ["The tower ", "is 34 metres ", "tall [1]."]
        yield server


@pytest.fixture
def serve(home: Path, encoder: Any, model: FakeServer) -> Iterator[Serve]:
    """Start a server with some settings of its own section."""
    started: list[Running] = []

    def start(**section: Any) -> Running:
        variables = {f"FOOTNOTE_SERVER__{key.upper()}": str(value) for key, value in section.items()}
        settings = load_settings(
            None, {"FOOTNOTE_HOME": str(home), "FOOTNOTE_GENERATOR__BASE_URL": model.base_url, **variables}
        )
        started.append(Running(settings))
        return started[-1]

    yield start
    for running in started:
        running.stop()


@pytest.fixture
def tower(footnote: Any, papers: Path) -> str:
    """A collection with the three papers."""
    assert footnote("ingest", papers, "--collection", "tower").code == 0
    return "tower"
