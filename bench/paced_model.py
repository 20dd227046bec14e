"""A model server that costs no processor: what remains of an answer's time is the service's own.

    python -m bench.paced_model --port 18290 [--words-per-s 20] [--first-word-s 0.5]

It speaks OpenAI's streaming protocol and says the first words of the passage that the prompt shows first, with its
marker, one word after another at the pace of a model; how many depends on the prompt, so that many streams do not keep
step. It is no model: what it says is worth nothing.
"""

import argparse
import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any
from zlib import crc32

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

NAME = "paced"
_PASSAGE = re.compile(r'number="1"[^>]*>\s*(.+?)</', re.DOTALL)
_WORDS = 12, 36  # at least, at most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--words-per-s", type=float, default=20)
    parser.add_argument("--first-word-s", type=float, default=0.5)
    options = parser.parse_args()
    uvicorn.run(application(options.words_per_s, options.first_word_s), port=options.port, log_level="warning")


def application(words_per_s: float, first_word_s: float) -> Starlette:
    async def models(request: Request) -> Response:
        listed = {"id": NAME, "object": "model", "created": 0, "owned_by": "bench", "max_model_len": 8192}
        return JSONResponse({"object": "list", "data": [listed]})

    async def chat(request: Request) -> Response:
        said = words_of((await request.json())["messages"])
        return StreamingResponse(paced(said), media_type="text/event-stream")

    async def paced(said: list[str]) -> AsyncIterator[str]:
        await asyncio.sleep(first_word_s)
        for word in said:
            yield event({"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]})
            await asyncio.sleep(1 / words_per_s)
        yield event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        yield "data: [DONE]\n\n"

    routes = [Route("/v1/models", models), Route("/v1/chat/completions", chat, methods=["POST"])]
    return Starlette(routes=routes)


def words_of(messages: list[dict[str, Any]]) -> list[str]:
    """What is said to a prompt, word by word."""
    found = _PASSAGE.search(str(messages[-1]["content"]))
    length = _WORDS[0] + crc32(str(messages).encode()) % (_WORDS[1] - _WORDS[0] + 1)
    words = (found[1] if found else "Nothing is known").split()[:length]
    return [f"{word} " for word in words] + ["[1]."]


def event(value: dict[str, Any]) -> str:
    head = {"id": "paced", "object": "chat.completion.chunk", "created": int(time.time()), "model": NAME}
    return f"data: {json.dumps(head | value)}\n\n"


if __name__ == "__main__":
    main()
