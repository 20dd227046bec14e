"""POST /v1/chat/completions: the pipeline behind OpenAI's protocol.

What a client was sent cannot be taken back, and only a whole answer can be checked. So a stream carries the model's
words as drafts beside the content, and the content is the checked answer; `footnote.draft` turns that round.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from app.api.access import Reader
from app.api.answering import start_answer
from app.api.conversation import check_able, question_and_turns, unit_of
from app.api.errors import described, error_fields, refusal, storable
from app.api.protocol import ChatRequest, Completion
from app.api.service import Served, Service
from app.caller import Caller
from app.commands.ask import answer_json
from app.experiment import Arm, assign, record_exposure
from app.markdown import with_footnotes
from generator.answer import Answer
from generator.pipeline import Done, Event, Token
from indexer.filter import parse_filter

logger = logging.getLogger(__name__)
router = APIRouter(tags=["openai"])
_CHUNK = {"type": "string", "description": "A chat.completion.chunk as JSON, an error as JSON, or [DONE]."}
_EVENTS = {"schema": {"type": "object", "required": ["data"], "properties": {"data": _CHUNK}}}
_STREAM = {"content": {"text/event-stream": _EVENTS}, "description": "The answer, or with `stream` its chunks."}


@dataclass(slots=True)
class _Exchange:
    """One question of one client."""

    request: ChatRequest
    service: Service
    caller: Caller
    question: str
    ignored: list[str]
    arm: Arm | None
    line_ms: float  # it waited for its turn
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    async def chunks(self, event: Event) -> list[str]:
        """What is sent for an event of the pipeline."""
        if isinstance(event, Token):
            if self.request.footnote.draft:
                return [self.chunk({"content": event.text})]
            return [self.chunk({}, footnote={"draft": event.text})]
        if not isinstance(event, Done):
            return []
        await self.remember(event)
        sent = [] if self.request.footnote.draft else [self.chunk({"content": self.content(event)})]
        sent.append(self.chunk({}, "stop", footnote=self.footnote(event)))
        options = self.request.stream_options
        if options and options.include_usage:
            head = self._head("chat.completion.chunk")
            sent.append(_data({**head, "choices": [], "usage": await self.usage(event)}))
        return sent

    def chunk(self, delta: dict[str, str], ended: str | None = None, **more: Any) -> str:
        """One event of the stream."""
        choice = {"index": 0, "delta": delta, "finish_reason": ended}
        return _data({**self._head("chat.completion.chunk"), "choices": [choice], **more})

    def completion(self, done: Done, usage: dict[str, int]) -> dict[str, Any]:
        """The whole answer as one document."""
        message = {"role": "assistant", "content": self.content(done), "footnote": self.footnote(done)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage}

    async def remember(self, done: Done) -> None:
        """Keep what a thumb on this answer would be stored with, and the figures of an experiment; count its times."""
        self.service.metrics.answer(self.timings_ms(done))
        await asyncio.to_thread(self._remember, done.answer)

    def _remember(self, answer: Answer) -> None:
        collection = self.service.library.reading(self.caller, self.request.model).collection
        filters = self.request.footnote.filters
        self.service.recent.add(self.id, self.caller.id, collection, self.question, answer, self.arm, filters)
        record_exposure(self.service.database, self.arm, self.id, answer)

    def content(self, done: Done) -> str:
        """The checked answer, as the client wants it."""
        return with_footnotes(done.answer) if self.request.footnote.markdown else done.answer.text

    def footnote(self, done: Done) -> dict[str, Any]:
        """What the answer rests on."""
        told = {"timings_ms": self.timings_ms(done), "ignored": [storable(name) for name in self.ignored]}
        return {**answer_json(done.answer), **told}

    def timings_ms(self, done: Done) -> dict[str, float]:
        """Times of the answer's stages, and of its turn before them."""
        return {"line": self.line_ms, **done.answer.timings_ms}

    async def usage(self, done: Done) -> dict[str, int]:
        """Tokens of prompt and answer."""
        read = done.prompt.token_count if done.prompt else 0
        written = await asyncio.to_thread(self.service.library.count_tokens, done.answer.text) if done.prompt else 0
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.request.model}


@router.post(
    "/v1/chat/completions", response_model=Completion, responses={200: _STREAM, **described(404, 409, 502, 503, 504)}
)
async def chat(request: Request, body: ChatRequest, caller: Reader, service: Served) -> Response:
    """Ask a collection. `model` names it; the messages before the last are the conversation."""
    await asyncio.to_thread(service.library.check, caller, body.model)
    ignored = check_able(body)
    question, turns = question_and_turns(body.messages)
    library = service.library
    asked = parse_filter(body.footnote.filters)
    arm = assign(library.settings.experiment, unit_of(body, caller.id))
    came_s = time.perf_counter()
    answering = await start_answer(
        request,
        service.answers,
        lambda: library.ask(caller, body.model, question, turns, asked, arm),
        service.section.timeout_s,
    )
    line_ms = round((time.perf_counter() - came_s) * 1000, 1)
    exchange = _Exchange(body, service, caller, question, ignored, arm, line_ms)
    events = answering.events()
    try:
        before = await _until_words(events)  # so that what fails before the first word has its own status
    except BaseException:
        await events.aclose()
        raise
    if body.stream:
        headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
        return StreamingResponse(_stream(exchange, before, events), media_type="text/event-stream", headers=headers)
    async with aclosing(events):
        async for event in events:
            before.append(event)
    done = before[-1]
    assert isinstance(done, Done), "the pipeline ended without an answer"
    await exchange.remember(done)
    return JSONResponse(exchange.completion(done, await exchange.usage(done)))


async def _until_words(events: AsyncIterator[Event]) -> list[Event]:
    """The events up to the first that has to do with an answer."""
    before: list[Event] = []
    async for event in events:
        before.append(event)
        if isinstance(event, Token | Done):
            break
    return before


async def _stream(
    exchange: _Exchange, before: list[Event], events: AsyncGenerator[Event, None]
) -> AsyncGenerator[str, None]:
    """The chunks of an answer; one that fails midway ends with an error, as OpenAI's do."""
    try:
        async with aclosing(events):
            yield exchange.chunk({"role": "assistant", "content": ""})
            for event in before:
                for chunk in await exchange.chunks(event):
                    yield chunk
            async for event in events:
                for chunk in await exchange.chunks(event):
                    yield chunk
        yield "data: [DONE]\n\n"
    except Exception as error:
        refused = refusal(error)
        if refused.status == 500:
            logger.exception("an answer failed midway")
        yield _data(error_fields(refused))


def _data(value: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False, allow_nan=False)}\n\n"
