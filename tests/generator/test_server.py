import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from generator.chat import Written
from generator.prompt import Message, Prompt
from generator.server import ServerModel, ServerSettings
from generator.usage import Usage
from indexer.errors import ModelError

sys.path.insert(0, str(Path(__file__).parent))
from fake_server import FakeServer, serving

PROMPT = Prompt((Message("system", "Be brief."), Message("user", "How tall?")), (), 10)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as running:
        yield running


@pytest.fixture
def settings(server: FakeServer) -> ServerSettings:
    return ServerSettings(server.base_url, read_timeout_s=2, connect_timeout_s=2, retries=0)


def test_streams_the_pieces_as_they_come(server: FakeServer, settings: ServerSettings) -> None:
    pieces = list(ServerModel(settings).stream(PROMPT, max_tokens=77))
    assert pieces == server.pieces
    path, _, body = server.requests[-1]
    assert path == "/v1/chat/completions"
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How tall?"}]
    assert (body["model"], body["max_tokens"], body["temperature"], body["stream"]) == ("tiny", 77, 0.0, True)


def written(model: ServerModel) -> Written:
    """What the model returns at the end of a stream."""

    def drain() -> Iterator[Written]:
        yield (yield from model.stream(PROMPT))

    *_, last = drain()
    return last


def test_the_server_tells_its_tokens_and_how_sure_it_was(server: FakeServer, settings: ServerSettings) -> None:
    assert written(ServerModel(settings)) == Written(Usage(1, 11, 3), None)
    assert "logprobs" not in server.requests[-1][2]
    assert written(ServerModel(replace(settings, logprobs=True))) == Written(Usage(1, 11, 3), (-0.5 - 1.0 - 1.5) / 3)


@pytest.mark.parametrize(
    ("unknown", "expected"),
    [
        ({"stream_options"}, Written(None, -1.0)),
        ({"logprobs"}, Written(Usage(1, 11, 3), None)),
        ({"stream_options", "logprobs"}, Written()),
    ],
)
def test_what_a_server_does_not_know_is_left_out_from_then_on(
    server: FakeServer, settings: ServerSettings, unknown: set[str], expected: Written
) -> None:
    server.unknown = unknown
    model = ServerModel(replace(settings, model="tiny", logprobs=True))
    assert written(model) == expected
    asked = len(server.requests)
    assert asked == 1 + len(unknown)
    assert written(model) == expected
    assert len(server.requests) == asked + 1


def test_another_refusal_is_not_mistaken_for_an_unknown_field(server: FakeServer, settings: ServerSettings) -> None:
    server.unknown = {"temperature"}
    with pytest.raises(ModelError, match="temperature"):
        written(ServerModel(replace(settings, model="tiny")))
    assert len(server.requests) == 1


def test_says_nothing_of_this_machine_and_sends_no_foreign_key(
    server: FakeServer, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "foreign-key")
    monkeypatch.setenv("OPENAI_ORG_ID", "foreign-organisation")
    list(ServerModel(settings).stream(PROMPT))
    list(ServerModel(replace(settings, api_key="our-key")).stream(PROMPT))
    sent = [{name.lower(): value for name, value in headers.items()} for _, headers, _ in server.requests]
    harmless = {"x-stainless-retry-count", "x-stainless-read-timeout"}
    assert {name for headers in sent for name in headers if name.startswith("x-stainless")} <= harmless
    assert not [value for headers in sent for value in headers.values() if "foreign" in value]
    assert sent[-1]["authorization"] == "Bearer our-key"


def test_context_and_name_come_from_the_server(settings: ServerSettings) -> None:
    model = ServerModel(settings)
    assert (model.name, model.context_tokens) == ("tiny", 2048)
    other = ServerModel(replace(settings, model="mine", context_tokens=999))
    assert (other.name, other.context_tokens) == ("mine", 999)


def test_tokens_are_counted_by_the_server_where_it_can(server: FakeServer, settings: ServerSettings) -> None:
    server.tokenizes = True
    assert ServerModel(settings).count_tokens(["one two three", "four"]) == [3, 1]


def test_tokens_are_overestimated_where_it_cannot_and_asked_for_only_once(
    server: FakeServer, settings: ServerSettings
) -> None:
    counts = ServerModel(settings).count_tokens(["one two three", "vier fünf", ""])
    assert counts[0] >= 3
    assert counts[1] >= 2
    assert counts[2] == 0
    assert [path for path, _, _ in server.requests].count("/tokenize") == 1


@pytest.mark.parametrize(
    ("behaviour", "message", "remedy"),
    [
        ("model", "no model nope", "generator.model"),
        ("key", "refuses the key", "generator.api_key"),
        ("context", "too long", "longer context"),
        ("busy", "too much to do", "Wait"),
        ("broken", "answered 500: CUDA error: out of memory", "log"),
        ("html", "does not speak the OpenAI protocol", "generator.base_url"),
        ("garbage", "does not speak the OpenAI protocol", "generator.base_url"),
        ("nonsense", "does not speak the OpenAI protocol", "generator.base_url"),
        ("cut", "ended the answer in the middle", "Ask again"),
    ],
)
def test_failures_are_explained(
    server: FakeServer, settings: ServerSettings, behaviour: str, message: str, remedy: str
) -> None:
    server.behaviour = behaviour
    with pytest.raises(ModelError) as caught:
        list(ServerModel(replace(settings, model="nope")).stream(PROMPT))
    assert message in caught.value.message
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("behaviour", ["html", "empty", "key"])
def test_failures_of_the_model_list_are_explained(server: FakeServer, settings: ServerSettings, behaviour: str) -> None:
    server.behaviour = behaviour
    with pytest.raises(ModelError):
        _ = ServerModel(settings).name


def test_what_came_before_a_failure_was_given(server: FakeServer, settings: ServerSettings) -> None:
    server.behaviour = "cut"
    pieces = ServerModel(settings).stream(PROMPT)
    assert [next(pieces), next(pieces)] == server.pieces[:2]
    with pytest.raises(ModelError):
        next(pieces)


def test_slow_server_is_given_up(server: FakeServer, settings: ServerSettings) -> None:
    server.behaviour = "slow"
    with pytest.raises(ModelError, match=r"did not answer in 0\.3 s"):
        list(ServerModel(replace(settings, model="tiny", read_timeout_s=0.3)).stream(PROMPT))


def test_server_that_is_down() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    model = ServerModel(ServerSettings(url, model="tiny", retries=0))
    with pytest.raises(ModelError, match="No model server answers") as caught:
        list(model.stream(PROMPT))
    assert "footnote serve-model" in caught.value.remedy
    with pytest.raises(ModelError, match="No model server answers"):
        model.count_tokens(["text"])


def test_request_is_tried_again_before_the_first_token_only(server: FakeServer, settings: ServerSettings) -> None:
    server.failures = 1
    assert list(ServerModel(replace(settings, model="tiny", retries=1)).stream(PROMPT)) == server.pieces
    server.failures = 1
    with pytest.raises(ModelError, match="503"):
        list(ServerModel(replace(settings, model="tiny", retries=0)).stream(PROMPT))


def test_closing_the_stream_ends_the_work_on_the_server(server: FakeServer, settings: ServerSettings) -> None:
    server.behaviour = "drip"
    server.pieces = ["piece " * 2000] * 400
    pieces = ServerModel(settings).stream(PROMPT)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert server.hung_up.wait(10)
    assert server.sent_pieces < 400


def test_a_server_that_lists_no_models_is_there_where_one_is_named(
    server: FakeServer, settings: ServerSettings
) -> None:
    ServerModel(settings).check()
    server.behaviour = "no list"
    ServerModel(replace(settings, model="tiny")).check()
    with pytest.raises(ModelError, match="has no chat completions there"):
        ServerModel(settings).check()
    server.behaviour = "hangs up"
    with pytest.raises(ModelError, match="No model server answers"):
        ServerModel(replace(settings, model="tiny")).check()
