"""Ending what another thread waits for."""

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from generator.prompt import Message, Prompt
from generator.server import ServerModel, ServerSettings
from generator.stopping import Stop, Stopped, read, stopped_by

sys.path.insert(0, str(Path(__file__).parent))
from fake_server import FakeServer, serving

PROMPT = Prompt((Message("user", "How tall?"),), (), 10)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as running:
        yield running


async def numbers(closed: threading.Event, last: int = 3) -> AsyncGenerator[int, None]:
    try:
        for number in range(last):
            yield number
        if last < 3:
            raise ValueError("too few")
        if last > 3:
            await asyncio.sleep(60)
    finally:
        closed.set()


def test_what_a_thread_reads_is_what_the_loop_yields() -> None:
    closed = threading.Event()
    assert list(read(numbers(closed))) == [0, 1, 2]
    assert closed.wait(5)


def test_what_fails_in_the_loop_fails_in_the_thread() -> None:
    reading = read(numbers(threading.Event(), last=2))
    assert [next(reading), next(reading)] == [0, 1]
    with pytest.raises(ValueError, match="too few"):
        next(reading)


def test_closing_ends_what_is_read() -> None:
    closed = threading.Event()
    reading = read(numbers(closed, last=4))
    assert next(reading) == 0
    reading.close()
    assert closed.wait(5)


def test_what_was_stopped_before_begins_nothing(server: FakeServer) -> None:
    stop = Stop()
    stop.now()
    with stopped_by(stop), pytest.raises(Stopped):
        list(ServerModel(ServerSettings(server.base_url, model="tiny")).stream(PROMPT))
    assert not server.requests


@pytest.mark.parametrize("behaviour", ["late headers", "late words"])
def test_a_server_that_reads_the_prompt_is_left_at_once(server: FakeServer, behaviour: str) -> None:
    server.behaviour = behaviour
    stop, ended = Stop(), threading.Event()

    def ask() -> None:
        with stopped_by(stop), pytest.raises(Stopped):
            list(ServerModel(ServerSettings(server.base_url, model="tiny")).stream(PROMPT))
        ended.set()

    threading.Thread(target=ask, daemon=True).start()
    assert server.reading.wait(10)
    stop.now()
    assert ended.wait(5)
    assert server.hung_up.wait(5)
    assert [path for path, _, _ in server.requests] == ["/v1/chat/completions"]  # and is not asked again
