"""A chat model behind any OpenAI-compatible server: vLLM first, and whatever else speaks the protocol."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from generator.chat import Pieces
from generator.completion import StreamedCompletion
from generator.prompt import Message, Prompt
from generator.server_errors import model_errors, no_chat_completion
from generator.usage import Usage, count
from indexer.errors import ModelError, UnfinishedError

if TYPE_CHECKING:
    from openai import OpenAI

logger = logging.getLogger(__name__)

_CACHED_COUNTS = 4096
_ALTERNATIVES = 20  # to each token: the most that the protocol allows
_BYTES_PER_TOKEN = 2.5  # fewer than any common tokenizer needs for prose or code, so counts come out too high
# What is asked for beside the text, where the server knows it.
_EXTRAS: Mapping[str, Any] = {"stream_options": {"include_usage": True}, "logprobs": True}
# The client library would tell the server about this machine.
_SILENT = (
    "Lang",
    "Package-Version",
    "OS",
    "Arch",
    "Runtime",
    "Runtime-Version",
    "Async",
    "Retry-Count",
    "Read-Timeout",
)


@dataclass(frozen=True, slots=True)
class Completion:
    """A JSON object that a model wrote, and its tokens: the text of each, and log-probabilities of what it might be."""

    value: Mapping[str, Any]
    tokens: tuple[tuple[str, Mapping[str, float]], ...] = ()
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Which server, and how long to wait for it."""

    base_url: str  # ends in /v1
    model: str = ""  # empty: the first that the server lists
    api_key: str = ""
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 60.0  # without any new token
    retries: int = 1  # before the first token only
    context_tokens: int = 0  # 0: ask the server
    temperature: float = 0.0
    logprobs: bool = False  # whether to ask how probable each token of an answer was
    seed: int = 0  # of what `complete` draws where the temperature is above 0


class ServerModel:
    """Streams chat completions. Nothing is sent anywhere but to `base_url`, and not before the first question."""

    follows_instructions = True

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._counts: dict[str, int] = {}
        self._tokenizes: bool | None = None  # whether the server counts tokens; None until it was asked
        self._extras = frozenset(_EXTRAS) if settings.logprobs else frozenset({"stream_options"})

    @cached_property
    def name(self) -> str:
        """The model's name on the server."""
        return self._settings.model or str(self._listed[0].id)

    @cached_property
    def context_tokens(self) -> int:
        """The model's context as vLLM tells it, or 4096 when the server does not say."""
        told = next((getattr(model, "max_model_len", None) for model in self._listed if model.id == self.name), None)
        return self._settings.context_tokens or (told if isinstance(told, int) and told > 0 else 4096)

    def check(self) -> None:
        """Ask the server whether it is there; it need not list its models where one is named.

        Raises:
            ModelError: it is down, slow, or refuses the key.
        """
        from openai import NotFoundError

        with model_errors(self._settings):
            try:
                list(self._client.models.list())
            except NotFoundError:
                if not self._settings.model:
                    raise

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text: exact where the server has vLLM's /tokenize, else an upper bound."""
        return [self._count(text) for text in texts]

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Pieces:
        """Write the answer in pieces. Closing the generator ends the request, and with it the work on the server.

        Raises:
            ModelError: the server is down, slow, refuses, or answers with something else than a chat completion.
        """
        completion = StreamedCompletion()
        with model_errors(self._settings):
            stream = self._opened(prompt, max_tokens)
            try:
                for chunk in stream:
                    if piece := completion.take(chunk):
                        yield piece
            finally:
                stream.close()
        if not completion.is_chat:
            raise no_chat_completion(self._settings.base_url)
        if completion.reason is None:
            raise ModelError(
                f"The model server at {self._settings.base_url} ended the answer in the middle.",
                "Ask again; if it happens again, look at the server's log.",
            )
        if completion.reason == "length":
            logger.info("The answer was cut at %d tokens", max_tokens)
        return completion.written

    def _opened(self, prompt: Prompt, max_tokens: int) -> Any:
        """Begin a completion; an extra that the server refuses by name is left out from then on."""
        from openai import APIStatusError

        create = cast(Any, self._client.chat.completions.create)
        while True:
            extras = self._extras
            try:
                return create(
                    model=self.name,
                    messages=[{"role": m.role, "content": m.content} for m in prompt.messages],
                    max_tokens=max_tokens,
                    temperature=self._settings.temperature,
                    stream=True,
                    **{name: _EXTRAS[name] for name in extras},
                )
            except APIStatusError as error:
                refused = {name for name in extras if name in str(error)}
                if error.status_code not in (400, 403, 422) or not refused:
                    raise
                logger.info("The server refuses %s", ", ".join(sorted(refused)))
                self._extras = extras - refused

    def complete(self, messages: Sequence[Message], schema: Mapping[str, Any], max_tokens: int = 512) -> Completion:
        """Write one JSON object that fits a JSON schema, with each token's alternatives.

        Raises:
            UnfinishedError: the object was cut at `max_tokens`.
            ModelError: as `stream` does.
        """
        with model_errors(self._settings):
            answered = self._client.chat.completions.create(
                model=self.name,
                messages=cast(Any, [{"role": m.role, "content": m.content} for m in messages]),
                max_tokens=max_tokens,
                temperature=self._settings.temperature,
                seed=self._settings.seed,
                response_format=cast(Any, {"type": "json_schema", "json_schema": {"name": "out", "schema": schema}}),
                logprobs=True,
                top_logprobs=_ALTERNATIVES,
            )
            told = answered.usage
            usage = Usage(1, told.prompt_tokens, told.completion_tokens) if told else Usage(calls=1)
            count(usage)
            choice = answered.choices[0]
            text, tokens = choice.message.content, choice.logprobs.content if choice.logprobs else None
            if choice.finish_reason == "length":
                raise UnfinishedError(
                    f"{self.name} wrote more than {max_tokens} tokens.", "Allow more, or take a larger model."
                )
            value = json.loads(text or "")
            if not isinstance(value, dict):
                raise TypeError("not an object")
            alternatives = tuple(
                (t.token, {other.token: other.logprob for other in t.top_logprobs}) for t in tokens or ()
            )
        return Completion(value, alternatives, usage)

    def first_token(self, messages: Sequence[Message]) -> Mapping[str, float]:
        """Log-probabilities of the likeliest first tokens of a reply; nothing more is written.

        Raises:
            ModelError: as `stream` does, or the server gives no log-probabilities.
        """
        with model_errors(self._settings):
            answered = self._client.chat.completions.create(
                model=self.name,
                messages=cast(Any, [{"role": m.role, "content": m.content} for m in messages]),
                max_tokens=1,
                temperature=0.0,
                logprobs=True,
                top_logprobs=_ALTERNATIVES,
            )
            told = answered.usage
            count(Usage(1, told.prompt_tokens, told.completion_tokens) if told else Usage(calls=1))
            logprobs = answered.choices[0].logprobs
            tokens = logprobs.content if logprobs else None
            found = {other.token: float(other.logprob) for other in tokens[0].top_logprobs} if tokens else {}
        if not found:
            raise ModelError(
                f"The model server at {self._settings.base_url} gives no log-probabilities.",
                "Serve the model with vLLM, or name a cross-encoder in retriever.reranker.",
            )
        return found

    @cached_property
    def _client(self) -> "OpenAI":
        from openai import Omit, OpenAI, Timeout

        settings = self._settings
        return OpenAI(
            base_url=settings.base_url,
            # Never the key of another service that happens to be in the environment.
            api_key=settings.api_key or "none",
            organization="",
            project="",
            timeout=Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s),
            max_retries=settings.retries,
            default_headers=cast(dict[str, str], {f"X-Stainless-{name}": Omit() for name in _SILENT}),
        )

    @cached_property
    def _listed(self) -> Sequence[Any]:
        with model_errors(self._settings):
            listed = list(self._client.models.list())
        if not listed:
            raise ModelError(
                f"The server at {self._settings.base_url} lists no models.", "Load a model, or set generator.model."
            )
        return listed

    def _count(self, text: str) -> int:
        if text not in self._counts:
            if len(self._counts) >= _CACHED_COUNTS:
                self._counts.clear()
            self._counts[text] = self._exact(text) or math.ceil(len(text.encode("utf-8", "replace")) / _BYTES_PER_TOKEN)
        return self._counts[text]

    def _exact(self, text: str) -> int:
        """Ask vLLM's /tokenize; 0 when there is none."""
        from openai import APIConnectionError, OpenAIError

        if self._tokenizes is False:
            return 0
        url = self._settings.base_url.rstrip("/").removesuffix("/v1") + "/tokenize"
        body = {"model": self.name, "prompt": text, "add_special_tokens": False}
        try:
            answer: Any = self._client.post(url, cast_to=object, body=body)
            self._tokenizes = True
            return int(answer["count"])
        except APIConnectionError:
            with model_errors(self._settings):
                raise
        except (OpenAIError, ValueError, KeyError, TypeError):
            self._tokenizes = False
            return 0
