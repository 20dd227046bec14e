"""The pipeline that answers a question: rewrite -> expand -> search -> select -> prompt -> generate -> cite.

What is evaluated is what is served: the page, the command line and the evaluation all run this object.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Literal, Protocol

from generator.answer import Answer
from generator.attribution import abstained, attributed, weighed
from generator.chat import ChatModel, Counted
from generator.context import choose_context, without_room
from generator.doubt import DoubtSettings
from generator.entailment import Entailment
from generator.expand import ExpansionSettings, expand, told_of
from generator.followup import self_contained, switches_topic
from generator.prompt import Prompt, Turn, answer_prompt
from generator.trace import Observe, Stopwatch, log_answer
from indexer.access import FULL, Access
from indexer.document import Document
from indexer.errors import ConfigError, FootnoteError, IndexError_
from indexer.filter import EVERYTHING, Filter
from retriever.hit import Hit
from retriever.request import SearchRequest, SearchResult
from retriever.select import Order, SelectionSettings


class Searcher(Protocol):
    """What the pipeline needs of a Retriever."""

    def find(self, request: SearchRequest) -> SearchResult:
        """The `k` best chunks of the documents that hold the filter and that the caller may read."""


class Documents(Protocol):
    """What the pipeline needs of a Collection."""

    name: str

    def count(self, access: Access = FULL) -> int:
        """Number of chunks that the caller may read."""

    def document(self, document_id: str, access: Access = FULL) -> Document:
        """One document with its text; IndexError_ for one that the caller may not read."""


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """How to answer."""

    passages: int = 5
    mode: Literal["bm25", "dense", "hybrid"] = "hybrid"
    rerank: bool = False
    max_answer_tokens: int = 512
    max_question_chars: int = 4000
    max_prompt_tokens: int = 6000
    carry_evidence: bool = False  # whether what the last answer rested on competes again
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    expansion: ExpansionSettings | None = None  # None searches for the question alone
    doubt: DoubtSettings | None = None  # for a model that does not decline by itself; None weighs nothing


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage begins: rewrite, expand, search, select, prompt, generate or cite."""

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


class Pipeline:
    """Answers questions about one collection. Thread-safe if its parts are; holds nothing of a conversation."""

    def __init__(
        self,
        retriever: Searcher,
        model: ChatModel,
        collection: Documents,
        settings: PipelineSettings | None = None,
        entailment: Entailment | None = None,
        observe: Observe | None = None,
    ) -> None:
        """`observe` is given the trace of every question, also of one that failed or was stopped."""
        self._retriever = retriever
        self._model = model
        self._collection = collection
        self._settings = settings or PipelineSettings()
        self._entailment = entailment
        self._observe = observe

    def answer(
        self,
        question: str,
        history: Sequence[Turn] = (),
        query: str | None = None,
        earlier: Sequence[Hit] = (),
        asked: Filter = EVERYTHING,
        access: Access = FULL,
    ) -> Answer:
        """Answer without streaming. Takes and raises what `ask` does."""
        for event in self.ask(question, history, query, earlier, asked, access):
            if isinstance(event, Done):
                return event.answer
        raise AssertionError("ask() ends with Done")

    def ask(
        self,
        question: str,
        history: Sequence[Turn] = (),
        query: str | None = None,
        earlier: Sequence[Hit] = (),
        asked: Filter = EVERYTHING,
        access: Access = FULL,
    ) -> Iterator[Event]:
        """Answer a question; `history` holds the (question, answer) turns before it, oldest first.

        `query` says the question in words that need no conversation; without it a follow-up is rewritten. `earlier` are
        the passages that the last answer rests on: with `carry_evidence` they compete again, if the topic is the same.
        Only documents that hold the filter `asked` and that `access` may read are read. Closing the iterator stops the
        model.

        Raises:
            ConfigError: the question is empty or too long.
            IndexError_: the collection is empty, or was built with another encoder.
            ModelError: the chat model failed; what it wrote before was yielded.
        """
        question = self._checked(question)
        query = None if query is None else self._checked(query)
        watch = Stopwatch()
        try:
            yield from self._steps(watch, question, history, query, earlier, asked, access)
        except FootnoteError as error:
            watch.error = error.kind
            raise
        finally:
            if self._observe:
                settings = self._settings
                self._observe(watch.trace(self._collection.name, settings.passages, settings.max_answer_tokens))

    def _steps(
        self,
        watch: Stopwatch,
        question: str,
        history: Sequence[Turn],
        query: str | None,
        earlier: Sequence[Hit],
        asked: Filter,
        access: Access,
    ) -> Iterator[Event]:
        model = Counted(self._model)
        yield Stage("rewrite")
        with watch.stage("rewrite"):
            query = query or self_contained(question, history, model)
        if self._settings.expansion:
            yield Stage("expand")
            with watch.stage("expand"):
                watch.expansion = expand(query, model, self._settings.expansion)
                watch.notes += told_of(watch.expansion)
        yield Stage("search")
        with watch.stage("search"):
            found = self._search(query, asked, access, watch)
        yield Stage("select")
        with watch.stage("select"):
            settings = self._settings
            again = settings.carry_evidence and not asked and not switches_topic(question, history)
            text_of = partial(self._text_of, access)
            chosen = choose_context(
                found, earlier if again else (), query, settings.passages, settings.selection, text_of
            )
            hits, watch.left_out = chosen.hits, chosen.left_out
        yield Found(query, hits)
        if not hits:
            yield self._done(watch, model, abstained(query, hits), None)
            return
        yield Stage("prompt")
        with watch.stage("prompt"):
            prompt = self._prompt(query, hits, history)
            watch.left_out += without_room(hits, prompt)
        yield Stage("generate")
        pieces: list[str] = []
        with watch.stage("generate"):
            for piece in model.stream(prompt, self._settings.max_answer_tokens):
                if not pieces:
                    watch.since_start("first_token")
                pieces.append(piece)
                yield Token(piece)
        yield Stage("cite")
        with watch.stage("cite"):
            document_of = partial(self._collection.document, access=access)
            answer = attributed("".join(pieces), query, prompt, document_of, self._entailment)
            answer = weighed(replace(answer, hits=hits, log_p_token=model.log_p_token), self._settings.doubt)
        yield self._done(watch, model, answer, prompt)

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

    def _search(self, query: str, asked: Filter, access: Access, watch: Stopwatch) -> tuple[Hit, ...]:
        settings = self._settings
        found = self._retriever.find(
            SearchRequest(
                query,
                max(settings.passages, settings.selection.pool),
                settings.mode,
                settings.rerank,
                asked,
                access,
                loosely=True,
                expansion=watch.expansion,
            )
        )
        watch.notes += found.notes
        watch.reranker = found.reranker
        if "encode" in found.timings_ms:  # a model's time, which is not the service's own
            watch.timings_ms["encode"] = round(found.timings_ms["encode"], 1)
        if not found.hits and self._collection.count(access) == 0:
            raise IndexError_(
                f"Collection '{self._collection.name}' is empty",
                f"Add documents: `footnote ingest FOLDER --collection {self._collection.name}`.",
            )
        return found.hits

    def _prompt(self, query: str, hits: tuple[Hit, ...], history: Sequence[Turn]) -> Prompt:
        room = self._model.context_tokens - self._settings.max_answer_tokens
        budget = min(room, self._settings.max_prompt_tokens)
        # A model that reads one passage after the other, like the embedded one, has no middle to overlook.
        order: Order = self._settings.selection.order if self._model.follows_instructions else "best-first"
        return answer_prompt(query, hits, budget, self._model.count_tokens, history, order)

    def _text_of(self, access: Access, document_id: str) -> str | None:
        try:
            return self._collection.document(document_id, access).text
        except IndexError_:
            return None

    def _done(self, watch: Stopwatch, model: Counted, answer: Answer, prompt: Prompt | None) -> Done:
        watch.since_start("total")
        watch.prompt = prompt
        watch.answer = answer = replace(
            answer,
            timings_ms=MappingProxyType(watch.timings_ms),
            model=model.name,
            prompt_version=prompt.version if prompt else "",
            usage=model.usage,
            left_out=watch.left_out,
            expansion=watch.expansion,
            notes=tuple(watch.notes),
            reranker=watch.reranker,
        )
        log_answer(watch.id, answer, prompt)
        return Done(answer, prompt)
