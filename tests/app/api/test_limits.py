"""What a server does with too much, too long, too many, and with clients that leave."""

import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from running import wait_for

from app.api.door import Rates
from app.api.errors import ApiError
from app.settings import ROOT

CHAT = "/v1/chat/completions"


def question(collection: str, **more: Any) -> dict[str, Any]:
    return {"model": collection, "messages": [{"role": "user", "content": "How tall is the tower?"}], **more}


@pytest.fixture
def endless(model: Any) -> Any:
    """A model that does not end by itself."""
    model.pieces = ["tower "] * 5000
    model.behaviour = "drip"
    return model


def test_a_body_over_the_limit(serve: Any, tower: str) -> None:
    with serve(max_body_mb=0.01, max_upload_mb=0.02).client() as client:
        long = question(tower, user="x" * 11_000)
        refused = client.post(CHAT, json=long)
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too_large")
        assert "0.01 MiB" in refused.json()["error"]["message"]

        def pieces() -> Iterator[bytes]:  # without a Content-Length
            yield from (json.dumps(long).encode()[at : at + 1000] for at in range(0, 12_000, 1000))

        refused = client.post(CHAT, content=pieces(), headers={"Content-Type": "application/json"})
        assert refused.status_code == 413
        assert "0.01 MiB" in refused.json()["error"]["message"]
        big = {"files": ("big.txt", b"word " * 5000)}
        assert client.post("/documents", files=big).status_code == 413
        assert client.post("/documents", files={"files": ("small.txt", b"word " * 2500)}).status_code == 202


def asking(running: Any, collection: str, **more: Any) -> socket.socket:
    """A client that has asked, and that hangs up when it is closed."""
    body = json.dumps(question(collection, **more)).encode()
    client = socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2])))
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    client.sendall(head.encode() + b"\r\n\r\n" + body)
    return client


@pytest.mark.parametrize("stream", [False, True])
def test_the_model_stops_when_the_client_leaves(serve: Any, tower: str, endless: Any, stream: bool) -> None:
    running = serve()
    with asking(running, tower, stream=stream):
        wait_for(lambda: endless.sent_pieces > 3)
    assert endless.hung_up.wait(10)
    assert endless.sent_pieces < 5000
    wait_for(lambda: running.app.state.service.answers.running == 0)


def test_who_leaves_the_line_gives_the_place_in_it_back(serve: Any, tower: str, endless: Any) -> None:
    running = serve(answers=1, queue=3)
    gate = running.app.state.service.answers
    with asking(running, tower, stream=True):
        wait_for(lambda: endless.sent_pieces > 0)
        others = [asking(running, tower, stream=stream) for stream in (False, True, True)]
        wait_for(lambda: gate.waiting == 3)
        for other in others:
            other.close()
        wait_for(lambda: gate.waiting == 0, 5)
        assert gate.running == 1  # the first is still answered, and holds the one place
        with asking(running, tower):
            wait_for(lambda: gate.waiting == 1)
    wait_for(lambda: (gate.running, gate.waiting) == (0, 0))


def test_a_full_line_is_said_at_once_and_searches_do_not_stand_in_it(serve: Any, tower: str, endless: Any) -> None:
    running = serve(answers=1, queue=1)
    gate = running.app.state.service.answers

    def begin(client: httpx.Client) -> int:
        with client.stream("POST", CHAT, json=question(tower, stream=True)) as answered:
            return answered.status_code

    with ThreadPoolExecutor(2) as others, running.client() as client, running.client() as second:
        first = client.stream("POST", CHAT, json=question(tower, stream=True))
        with first as answered:
            assert answered.status_code == 200
            waiting = others.submit(begin, second)
            wait_for(lambda: gate.waiting == 1)
            with running.client() as third:
                assert third.post("/search", json={"query": "tower", "collection": tower}).status_code == 200
                began = time.monotonic()
                refused = third.post(CHAT, json=question(tower))
                assert time.monotonic() - began < 5
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
            assert int(refused.headers["retry-after"]) > 0
        assert waiting.result(20) == 200  # the first left, and its place became free
    wait_for(lambda: (gate.running, gate.waiting) == (0, 0))


def test_who_waits_too_long_for_a_turn_is_told_to_come_again(serve: Any, tower: str, endless: Any) -> None:
    running = serve(answers=1, wait_s=0.5)
    with (
        running.client() as client,
        running.client() as second,
        client.stream("POST", CHAT, json=question(tower, stream=True)) as answered,
    ):
        assert answered.status_code == 200
        refused = second.post(CHAT, json=question(tower, stream=True))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert int(refused.headers["retry-after"]) > 0
    wait_for(lambda: running.app.state.service.answers.running == 0)


def test_an_answer_that_takes_too_long(serve: Any, tower: str, endless: Any) -> None:
    with serve(timeout_s=2).client() as client:
        refused = client.post(CHAT, json=question(tower))
        assert (refused.status_code, refused.json()["error"]["code"]) == (504, "timeout")
        streamed = client.post(CHAT, json=question(tower, stream=True))
        assert json.loads(streamed.text.strip().rpartition("data: ")[2])["error"]["code"] == "timeout"
    assert endless.hung_up.wait(10)


def test_a_server_that_is_told_to_stop_finishes_its_streams(tower: str, model: Any, home: Any) -> None:
    model.pieces = ["The tower ", "is 34 metres ", "tall [1]."] + [" "] * 60
    model.behaviour = "drip"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "FOOTNOTE_HOME": str(home),
        "FOOTNOTE_GENERATOR__BASE_URL": model.base_url,
        "FOOTNOTE_RETRIEVER__MODE": "bm25",
        "PYTHONPATH": str(ROOT),
        "PATH": "/usr/bin:/bin",
    }
    command = [sys.executable, "-m", "app", "serve", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        base = f"http://127.0.0.1:{port}"
        wait_for(lambda: _answers(f"{base}/ready"), 90)
        with httpx.stream("POST", base + CHAT, json=question(tower, stream=True), timeout=60) as answered:
            lines = answered.iter_lines()
            while "draft" not in next(lines):
                pass
            server.terminate()
            rest = list(lines)
        assert rest[-2] == "data: [DONE]"
        assert "34 metres tall [^1]" in "".join(rest)
        assert server.wait(30) == 0
        assert server.stderr is not None
        (line,) = [line for line in server.stderr if CHAT in line]
    told = json.loads(line)
    assert (told["method"], told["route"], told["status"], told["key"]) == ("POST", CHAT, 200, "")
    assert "tower" not in line


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_so_many_requests_a_minute() -> None:
    rates = Rates(60)
    for _ in range(60):
        rates.take("a", 100.0)
    with pytest.raises(ApiError) as caught:
        rates.take("a", 100.5)  # half a request came back
    assert (caught.value.status, caught.value.retry_after_s) == (429, 1)
    rates.take("b", 100.5)
    rates.take("a", 101.0)
    Rates(0).take("a", 0.0)


def test_every_answer_has_its_number_and_its_headers(serve: Any, tower: str) -> None:
    with serve().client() as client:
        for answered in (
            client.get("/health"),
            client.get("/nowhere"),
            client.post(CHAT, json=question(tower, stream=True)),
        ):
            assert len(answered.headers["x-request-id"]) == 32
            assert answered.headers["x-content-type-options"] == "nosniff"
            assert answered.headers["x-frame-options"] == "DENY"
            assert answered.headers["cache-control"] == "no-store"
            assert "default-src 'none'" in answered.headers["content-security-policy"]
            assert "access-control-allow-origin" not in answered.headers
        assert client.get("/health", headers={"X-Request-ID": "mine-1"}).headers["x-request-id"] == "mine-1"
        assert client.get("/health", headers={"X-Request-ID": "a b"}).headers["x-request-id"] != "a b"
        unknown = client.get("/nowhere")
        assert (unknown.status_code, unknown.json()["error"]["message"]) == (404, "Not Found.")


def test_pages_of_other_sites(serve: Any) -> None:
    evil, known = {"Origin": "http://evil.example"}, {"Origin": "https://intranet.example"}
    file = {"files": ("a.txt", b"text")}
    with serve().client() as client:
        assert client.post("/documents", files=file, headers=evil).status_code == 403
        assert client.post("/documents", files=file, headers={"Origin": "null"}).status_code == 403
        assert client.get("/v1/models", headers={"Host": "evil.example"}).status_code == 403
        assert client.get("/v1/models", headers={"Host": "[oops"}).status_code in (400, 403)
        own = {"Origin": str(client.base_url).rstrip("/")}
        assert client.post("/documents", files=file, headers=own).status_code == 202
    with serve(origins='["https://intranet.example"]').client() as client:
        assert client.post("/documents", files=file, headers=evil).status_code == 403
        allowed = client.post("/documents", files=file, headers=known)
        assert allowed.status_code == 202
        assert allowed.headers["access-control-allow-origin"] == known["Origin"]
        preflight = client.options(CHAT, headers={**known, "Access-Control-Request-Method": "POST"})
        assert preflight.status_code == 200


def test_a_mistake_of_ours_is_said_as_one_and_logged(
    serve: Any, tower: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*given: object) -> None:
        raise RuntimeError("secret words")

    running = serve()
    monkeypatch.setattr("app.api.search._search", fail)
    monkeypatch.setattr("app.api.library.Library.ask", fail)
    with running.client() as client, caplog.at_level(logging.ERROR):
        for answered in (
            client.post("/search", json={"query": "x", "collection": tower}),
            client.post(CHAT, json=question(tower)),
        ):
            assert (answered.status_code, answered.json()["error"]["type"]) == (500, "server_error")
            assert "secret words" not in answered.text
            assert answered.headers["x-request-id"] in caplog.text
    assert "secret words" in caplog.text


def test_fifty_streams_at_once(serve: Any, tower: str) -> None:
    running = serve(answers=4, queue=64)
    done = threading.Semaphore(0)

    def ask(number: int) -> str:
        with running.client() as client:
            text = client.post(CHAT, json=question(tower, stream=True)).text
        done.release()
        return text

    with ThreadPoolExecutor(50) as clients:
        texts = list(clients.map(ask, range(50)))
    assert all(text.endswith("data: [DONE]\n\n") and "[^1]" in text for text in texts)
