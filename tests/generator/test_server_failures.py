"""A chat server that is down, slow, restarting or talks nonsense: what is tried again, how often, and what is said."""

import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from generator.prompt import Message, Prompt
from generator.server import ServerModel, ServerSettings
from generator.usage import Usage, tallied
from indexer.errors import ModelError, UnfinishedError

sys.path.insert(0, str(Path(__file__).parent))
from fake_server import FakeServer, serving

PROMPT = Prompt((Message("user", "How tall?"),), (), 10)
SCHEMA = {"type": "object"}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as running:
        yield running


@pytest.fixture
def settings(server: FakeServer) -> ServerSettings:
    return ServerSettings(server.base_url, model="tiny", read_timeout_s=2, connect_timeout_s=2, retries=2)


def chats(server: FakeServer) -> int:
    return [path for path, _, _ in server.requests].count("/v1/chat/completions")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_server_that_restarts_is_waited_for() -> None:
    """Refused at first; it listens again before the attempts run out."""
    port, back = free_port(), threading.Event()
    done = threading.Event()

    def restart() -> None:
        time.sleep(0.6)
        with serving(port):
            back.set()
            done.wait(20)

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        settings = ServerSettings(f"http://127.0.0.1:{port}/v1", model="tiny", retries=3)
        assert "".join(ServerModel(settings).stream(PROMPT)) == "The tower is tall [1]."
        assert back.is_set()
    finally:
        done.set()
        thread.join(20)


def test_attempts_are_counted_and_further_and_further_apart_by_chance(
    server: FakeServer, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    for _ in range(2):
        server.failures = 100
        with pytest.raises(ModelError, match="answered 503: starting"):
            list(ServerModel(settings).stream(PROMPT))
    assert chats(server) == 2 * 3
    assert all(0.375 <= wait <= 0.5 for wait in waits[::2])  # half a second, less up to a quarter
    assert all(0.75 <= wait <= 1.0 for wait in waits[1::2])
    assert len(set(waits)) == 4


def test_the_server_says_how_long_to_wait(
    server: FakeServer, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    server.failures, server.retry_after = 1, "7"
    assert list(ServerModel(settings).stream(PROMPT)) == server.pieces
    assert waits == [7.0]


def test_a_server_that_asks_for_too_long_a_wait_is_not_waited_for(
    server: FakeServer, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    server.failures, server.retry_after = 1, "3600"
    with pytest.raises(ModelError, match=r"answered 503: starting \(it asks to wait 3600 s\)"):
        list(ServerModel(settings).stream(PROMPT))
    assert waits == []


def test_a_slow_server_is_asked_again_and_then_given_up(server: FakeServer, settings: ServerSettings) -> None:
    server.behaviour = "slow"
    began = time.monotonic()
    with pytest.raises(ModelError, match=r"did not answer in 0\.2 s"):
        list(ServerModel(replace(settings, read_timeout_s=0.2, retries=1)).stream(PROMPT))
    assert chats(server) == 2
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("stalls", r"did not answer in 0\.5 s"),
        ("cut", "ended the answer in the middle"),
        ("half an event", "ended the answer in the middle|does not speak the OpenAI protocol"),
        ("garbage", "does not speak the OpenAI protocol"),
    ],
)
def test_nothing_is_asked_twice_once_words_have_come(
    server: FakeServer, settings: ServerSettings, behaviour: str, said: str
) -> None:
    server.behaviour = behaviour
    pieces = ServerModel(replace(settings, read_timeout_s=0.5)).stream(PROMPT)
    assert [next(pieces), next(pieces)] == server.pieces[:2]
    with pytest.raises(ModelError, match=said) as caught:
        list(pieces)
    assert caught.value.remedy
    assert chats(server) == 1


def test_a_connection_that_is_hung_up_is_tried_again(server: FakeServer, settings: ServerSettings) -> None:
    server.behaviour = "hangs up"
    with pytest.raises(ModelError, match="No model server answers"):
        list(ServerModel(replace(settings, retries=1)).stream(PROMPT))
    assert chats(server) == 2


@pytest.mark.parametrize("behaviour", ["html", "half JSON"])
def test_nonsense_in_place_of_an_object_is_explained(
    server: FakeServer, settings: ServerSettings, behaviour: str
) -> None:
    server.behaviour = behaviour
    with pytest.raises(ModelError, match="does not speak the OpenAI protocol") as caught:
        ServerModel(settings).complete(PROMPT.messages, SCHEMA)
    assert "generator.base_url" in caught.value.remedy
    assert chats(server) == 1


def test_tokens_of_an_object_that_was_cut_are_counted(server: FakeServer, settings: ServerSettings) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": '{"a'}, "finish_reason": "length"}
    used = {"prompt_tokens": 20, "completion_tokens": 4, "total_tokens": 24}
    server.whole = lambda path, body: {"id": "c", "object": "chat.completion", "choices": [choice], "usage": used}
    with tallied() as spent, pytest.raises(UnfinishedError):
        ServerModel(settings).complete(PROMPT.messages, SCHEMA, 4)
    assert spent.total == Usage(1, 20, 4)


def test_nonsense_in_place_of_a_stream_is_explained(server: FakeServer, settings: ServerSettings) -> None:
    server.behaviour = "half JSON"
    with pytest.raises(ModelError, match="does not speak the OpenAI protocol"):
        list(ServerModel(settings).stream(PROMPT))
