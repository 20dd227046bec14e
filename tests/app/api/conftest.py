"""A real server on a free port, with real collections, before a small server that speaks as a model."""

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from app.api.application import create_app
from app.settings import ROOT, Settings, load_settings

sys.path.append(str(ROOT / "tests" / "generator"))  # the fake model server lives with the tests of its client
from fake_server import FakeServer, serving

Serve = Callable[..., "Running"]


class Running:
    """A uvicorn in a thread."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(self.app, log_config=None, access_log=False))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        wait_for(lambda: self._server.started)

    def client(self, key: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()


def wait_for(condition: Callable[[], Any], timeout_s: float = 20) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "this did not happen in time"
        time.sleep(0.01)


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
