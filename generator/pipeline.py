"""The pipeline that answers a question: rewrite -> search -> select -> prompt -> generate -> cite.

What is evaluated is what is served: the page, the command line and the evaluation all run this object.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from types import MappingProxyType
from typing import Literal, Protocol
from uuid import uuid4

from generator.abstain import DECLINE, declines
from generator.answer import Answer, Citation
from generator.chat import ChatModel
from generator.citations import cite
from generator.entailment import Entailment
from generator.followup import self_contained
from generator.links import without_links
from generator.prompt import Prompt, Turn, answer_prompt
from indexer.document import Document
from indexer.errors import ConfigError, IndexError_
from retriever.hit import Hit
from retriever.select import drop_repeats

logger = logging.getLogger(__name__)


class Searcher(Protocol):
    """What the pipeline needs of a Retriever."""

    def search(
        self, query: str, k: int = 10, mode: Literal["bm25", "dense", "hybrid"] = "hybrid", rerank: bool = False
    ) -> tuple[Hit, ...]:
        """The `k` best chunks."""


class Documents(Protocol):
    """What the pipeline needs of a Collection."""

    name: str

    def count(self) -> int:
        """Number of chunks."""

    def document(self, document_id: str) -> Document:
        """One document with its text."""


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """How to answer."""

    passages: int = 5
    mode: Literal["bm25", "dense", "hybrid"] = "hybrid"
    rerank: bool = False
    max_answer_tokens: int = 512
    max_question_chars: int = 4000
    max_prompt_tokens: int = 6000


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage begins: rewrite, search, select, prompt, generate or cite."""

    name: str


@dataclass(frozen=True, slots=True)
class Found:
    """The passages the answer will be written from; they are worth showing even if the model fails."""

    query: str
    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the answer as the model writes it; its markers are not yet checked."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The finished answer, and the prompt it was written from, if there was one. Always the last event."""

    answer: Answer
    prompt: Prompt | None = None


Event = Stage | Found | Token | Done


@dataclass(slots=True)
class _Run:
    """One question on its way."""

    id: str
    began: float
    timings_ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def clock(self, stage: str) -> Iterator[None]:
        began = perf_counter()
        try:
            yield
        finally:
            self.timings_ms[stage] = round((perf_counter() - began) * 1000, 1)

    def since_start(self, stage: str) -> None:
        self.timings_ms[stage] = round((perf_counter() - self.began) * 1000, 1)


class Pipeline:
    """Answers questions about one collection. Thread-safe if its parts are; holds nothing of a conversation."""

    def __init__(
        self,
        retriever: Searcher,
        model: ChatModel,
        collection: Documents,
        settings: PipelineSettings | None = None,
        entailment: Entailment | None = None,
    ) -> None:
        self._retriever = retriever
        self._model = model
        self._collection = collection
        self._settings = settings or PipelineSettings()
        self._entailment = entailment

    def answer(self, question: str, history: Sequence[Turn] = ()) -> Answer:
        """Answer without streaming. Raises what `ask` raises."""
        for event in self.ask(question, history):
            if isinstance(event, Done):
                return event.answer
        raise AssertionError("ask() ends with Done")

    def ask(self, question: str, history: Sequence[Turn] = ()) -> Iterator[Event]:
        """Answer a question; `history` holds the (question, answer) turns before it, oldest first.

        Closing the iterator stops the model.

        Raises:
            ConfigError: the question is empty or too long.
            IndexError_: the collection is empty, or was built with another encoder.
            ModelError: the chat model failed; what it wrote before was yielded.
        """
        question = self._checked(question)
        run = _Run(uuid4().hex[:12], perf_counter())
        yield Stage("rewrite")
        with run.clock("rewrite"):
            query = self_contained(question, history, self._model)
        yield Stage("search")
        with run.clock("search"):
            found = self._search(query)
        yield Stage("select")
        with run.clock("select"):
            hits = drop_repeats(found)
        yield Found(query, hits)
        if not hits:
            yield self._done(run, _abstained(query, hits), None)
            return
        yield Stage("prompt")
        with run.clock("prompt"):
            prompt = self._prompt(query, hits, history)
        yield Stage("generate")
        pieces: list[str] = []
        with run.clock("generate"):
            for piece in self._model.stream(prompt, self._settings.max_answer_tokens):
                if not pieces:
                    run.since_start("first_token")
                pieces.append(piece)
                yield Token(piece)
        yield Stage("cite")
        with run.clock("cite"):
            answer = self._cited("".join(pieces), query, prompt)
        yield self._done(run, replace(answer, hits=hits), prompt)

    def _checked(self, question: str) -> str:
        limit = self._settings.max_question_chars
        if len(question) > limit:
            raise ConfigError(
                f"The question has {len(question):,} characters, the limit is {limit:,}",
                "Ask in fewer words; long texts belong into a document: `footnote ingest` takes them.",
            )
        question = question.encode("utf-8", "replace").decode("utf-8").strip()
        if not question:
            raise ConfigError("The question is empty", "Ask something in words.")
        return question

    def _search(self, query: str) -> tuple[Hit, ...]:
        settings = self._settings
        hits = self._retriever.search(query, settings.passages, settings.mode, settings.rerank)
        if not hits and self._collection.count() == 0:
            raise IndexError_(
                f"Collection '{self._collection.name}' is empty",
                f"Add documents: `footnote ingest FOLDER --collection {self._collection.name}`.",
            )
        return hits

    def _prompt(self, query: str, hits: tuple[Hit, ...], history: Sequence[Turn]) -> Prompt:
        room = self._model.context_tokens - self._settings.max_answer_tokens
        budget = min(room, self._settings.max_prompt_tokens)
        return answer_prompt(query, hits, budget, self._model.count_tokens, history)

    def _cited(self, text: str, query: str, prompt: Prompt) -> Answer:
        text = without_links(text, [hit.chunk.text for hit in prompt.hits])
        if declines(text):
            return _abstained(query, prompt.hits)
        cited = cite(text, prompt.hits, query, self._entailment)
        located = tuple(c for citation in cited.citations if (c := self._located(citation)))
        dropped = cited.dropped + cited.unsupported
        if not located or len(located) < len(cited.citations):
            # Nothing in the passages supports it, or a document was deleted or changed while the model wrote.
            return replace(_abstained(query, prompt.hits), dropped_markers=dropped, checked_by=cited.checked_by)
        return Answer(
            cited.text,
            located,
            prompt.hits,
            abstained=False,
            query=query,
            dropped_markers=dropped,
            moved_markers=cited.moved,
            sentences=cited.sentences,
            checked_by=cited.checked_by,
        )

    def _located(self, citation: Citation) -> Citation | None:
        """Give a citation its page, or None when its document is gone or says something else by now."""
        try:
            document = self._collection.document(citation.document_id)
        except IndexError_:
            return None
        if document.text[citation.start : citation.end] != citation.quote:
            return None
        return replace(citation, page=document.page_at(citation.start))

    def _done(self, run: _Run, answer: Answer, prompt: Prompt | None) -> Done:
        run.since_start("total")
        logger.info(
            "answered id=%s model=%r prompt=%s prompt_tokens=%d hits=%d citations=%d dropped=%d moved=%d "
            "unsupported=%d abstained=%s %s",
            run.id,
            self._model.name,
            prompt.version if prompt else "-",
            prompt.token_count if prompt else 0,
            len(answer.hits),
            len(answer.citations),
            answer.dropped_markers,
            answer.moved_markers,
            len(answer.unsupported),
            answer.abstained,
            " ".join(f"{stage}_ms={took}" for stage, took in run.timings_ms.items()),
        )
        logger.debug("query id=%s %r", run.id, answer.query)
        return Done(replace(answer, timings_ms=MappingProxyType(run.timings_ms), model=self._model.name), prompt)


def _abstained(query: str, hits: tuple[Hit, ...]) -> Answer:
    return Answer(text=DECLINE, citations=(), hits=hits, abstained=True, query=query)
