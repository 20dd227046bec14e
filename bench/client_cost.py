"""What the evaluation's client costs: processor time per token of answers that a server streams at no cost.

    python -m bench.client_cost --prompts 64 --concurrency 16 --tokens 128

A process of its own gives every request the same stream at once, so that the client is what is measured: the pool of
threads, the client of the server and the run on disk, as in bench.answers_throughput. One interpreter runs one thread
of Python at a time, so no more than `tokens_per_s_at_most` reach one evaluation, whatever the server could give.
`--per-chunk` is how many tokens come in one message (vLLM's `--stream-interval`). The last line is JSON.
"""

import argparse
import json
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from bench.answers_throughput import make_prompts, ours
from generator.server import ServerModel, ServerSettings

MODEL = "streams"


def serve(port: Connection, tokens: int, per_chunk: int) -> None:
    """Answer every request with the same tokens, and send the port first."""
    sizes = [min(per_chunk, tokens - start) for start in range(0, tokens, per_chunk)]
    last = len(sizes) - 1
    events = [chunk([choice(" word" * size, "stop" if at == last else None)]) for at, size in enumerate(sizes)]
    used = {"prompt_tokens": 1, "completion_tokens": tokens}
    stream = b"".join([*events, chunk([], used), b"data: [DONE]\n\n"])
    serve_events(port, lambda _: stream)


def serve_events(port: Connection, answer: Callable[[bytes], bytes]) -> None:
    """Serve one model whose streams `answer` makes of a request's body, and send the port first."""
    models = json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model"}]}).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._give(models, "application/json")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.endswith("/chat/completions"):
                self._give(answer(body), "text/event-stream")
            else:
                self.send_error(404)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def _give(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_address[1])
    server.serve_forever()


def choice(text: str, reason: str | None) -> dict[str, Any]:
    """One piece of a streamed answer, and why it is the last one."""
    return {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": reason}


def chunk(choices: list[dict[str, Any]], used: Mapping[str, int] | None = None) -> bytes:
    """One event of a stream, in the OpenAI protocol."""
    told = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": choices}
    usage = {"usage": {**used, "total_tokens": sum(used.values())}} if used else {}
    return b"data: " + json.dumps({**told, **usage}).encode() + b"\n\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--per-chunk", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    here, there = get_context("spawn").Pipe()
    server = get_context("spawn").Process(target=serve, args=(there, options.tokens, options.per_chunk), daemon=True)
    server.start()
    try:
        model = ServerModel(ServerSettings(f"http://127.0.0.1:{here.recv()}/v1"))
        costs = [round_cost(model, options) for _ in range(options.rounds + 1)][1:]  # the first one imports
    finally:
        server.terminate()
    told = {name: getattr(options, name) for name in ("prompts", "concurrency", "tokens", "per_chunk", "rounds")}
    cost = median(costs)
    at_most = {"cpu_us_per_token": round(cost * 1e6, 1), "tokens_per_s_at_most": round(1 / cost)}
    print(json.dumps({"bench": "client_cost", **told, **at_most}))


def round_cost(model: ServerModel, options: Namespace) -> float:
    """Seconds of processor time a token."""
    cases, prompts = make_prompts(options.prompts)
    with tempfile.TemporaryDirectory() as name:
        began = time.process_time()
        _, texts = ours(model, cases, prompts, options, Path(name))
        return (time.process_time() - began) / (len(texts) * options.tokens)


if __name__ == "__main__":
    main()
