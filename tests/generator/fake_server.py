"""A small real HTTP server that speaks the OpenAI protocol, well or badly, for the tests of ServerModel."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any


class FakeServer(ThreadingHTTPServer):
    """What it does next is set by its attributes; what it was asked is kept in `requests`."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.pieces = ["The tower ", "is tall ", "[1]."]
        self.behaviour = "well"
        self.failures = 0  # how many requests to answer with 503 first
        self.retry_after = ""  # the header that comes with them
        self.tokenizes = False
        self.unknown: set[str] = set()  # fields of a request that it refuses
        self.whole: Callable[[str, dict[str, Any]], dict[str, Any]] | None = None  # answers what is not streamed
        self.sent_pieces = 0
        self.hung_up = threading.Event()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: object, client_address: object) -> None:
        self.hung_up.set()


@contextmanager
def serving(port: int = 0) -> Iterator[FakeServer]:
    server = FakeServer(port)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: FakeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers), {}))
        if self.server.behaviour == "html":
            return self._send(200, b"<html>hello</html>", "text/html")
        if self.server.behaviour == "key":
            return self._error(401, "Incorrect API key provided")
        if self.server.behaviour == "no list":
            return self._error(404, "Not Found")
        if self.server.behaviour == "hangs up":
            self.close_connection = True
            return None
        models = [{"id": "tiny", "object": "model", "created": 0, "owned_by": "us", "max_model_len": 2048}]
        return self._json(200, {"object": "list", "data": [] if self.server.behaviour == "empty" else models})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, dict(self.headers), body))
        self.body = body
        if self.path == "/tokenize":
            if not self.server.tokenizes:
                return self._error(404, "Not Found")
            return self._json(200, {"count": len(body["prompt"].split()), "max_model_len": 2048})
        if self.server.whole and not body.get("stream"):
            return self._json(200, self.server.whole(self.path, body))
        return self._chat()

    def _chat(self) -> None:
        server = self.server
        if server.failures:
            server.failures -= 1
            return self._error(503, "starting", {"Retry-After": server.retry_after} if server.retry_after else {})
        if refused := sorted(server.unknown & set(self.body)):
            return self._error(400, f"Unrecognized request argument supplied: {refused[0]}")
        match server.behaviour:
            case "model":
                return self._error(404, "The model `nope` does not exist.")
            case "key":
                return self._error(401, "Incorrect API key provided")
            case "context":
                return self._error(400, "This model's maximum context length is 2048 tokens, you requested 9000.")
            case "busy":
                return self._error(429, "Too many requests")
            case "broken":
                return self._error(500, "CUDA error: out of memory")
            case "html":
                return self._send(200, b"<html>hello</html>", "text/html")
            case "slow":
                time.sleep(3)
                return self._error(500, "too late")
            case "half JSON":
                return self._send(200, b'{"id": "c", "choices": [{"index": 0, "mess', "application/json")
            case "hangs up":
                self.close_connection = True
                return None
        return self._stream()

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for index, piece in enumerate(self.server.pieces):
            told = {"content": [{"token": piece, "logprob": -0.5 * (index + 1), "bytes": None, "top_logprobs": []}]}
            sure = {"logprobs": told} if self.body.get("logprobs") else {}
            self._event({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None, **sure}]})
            self.server.sent_pieces = index + 1
            if self.server.behaviour == "cut" and index == 1:
                return
            if self.server.behaviour == "garbage" and index == 1:
                self.wfile.write(b"data: {not json\n\n")
                return
            if self.server.behaviour == "half an event" and index == 1:
                self.wfile.write(b'data: {"id": "c", "choices": [{"index": 0, "del')
                return
            if self.server.behaviour == "stalls" and index == 1:
                self.server.hung_up.wait(3)
                return
            if self.server.behaviour == "nonsense" and index == 1:
                self._event({"choices": [{"index": 0, "delta": {"content": 7}, "finish_reason": None}]})
            if self.server.behaviour == "drip":
                time.sleep(0.02)
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if self.body.get("stream_options", {}).get("include_usage"):
            self._event({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, fields: dict[str, Any]) -> None:
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "tiny", **fields}
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.flush()

    def _error(self, status: int, message: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        body = {"error": {"message": message, "type": "error", "code": status}}
        self._send(status, json.dumps(body).encode(), "application/json", headers)

    def _json(self, status: int, body: object) -> None:
        self._send(status, json.dumps(body).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
