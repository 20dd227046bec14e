"""What happened on the way to one answer: when each stage ran, and what came of it."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from generator.answer import Answer
from generator.prompt import Prompt
from retriever.expansion import Expansion
from retriever.select import LeftOut

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StageTime:
    """One stage on the wall clock."""

    name: str
    began_ns: int  # since the epoch
    ended_ns: int


@dataclass(frozen=True, slots=True)
class Trace:
    """One question from beginning to end. Without an `answer` it failed, or was stopped if there is no `error`."""

    id: str
    began_ns: int  # since the epoch
    ended_ns: int
    stages: tuple[StageTime, ...]
    collection: str
    passages: int  # how many were asked for
    max_answer_tokens: int
    answer: Answer | None
    prompt: Prompt | None
    error: str  # its type


Observe = Callable[[Trace], None]


@dataclass(slots=True)
class Stopwatch:
    """One question on its way."""

    id: str = field(default_factory=lambda: uuid4().hex[:12])
    began_ns: int = field(default_factory=time.time_ns)
    timings_ms: dict[str, float] = field(default_factory=dict)
    stages: list[StageTime] = field(default_factory=list)
    answer: Answer | None = None
    prompt: Prompt | None = None
    left_out: tuple[LeftOut, ...] = ()
    expansion: Expansion | None = None
    notes: list[str] = field(default_factory=list)
    reranker: str = ""
    error: str = ""
    _began_s: float = field(default_factory=time.perf_counter)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage, also one that fails."""
        before_ms = self._passed_ms()
        try:
            yield
        finally:
            after_ms = self._passed_ms()
            self.timings_ms[name] = round(after_ms - before_ms, 1)
            self.stages.append(StageTime(name, self._at(before_ms), self._at(after_ms)))

    def since_start(self, name: str) -> None:
        """Note how long it took from the beginning until now."""
        self.timings_ms[name] = round(self._passed_ms(), 1)

    def trace(self, collection: str, passages: int, max_answer_tokens: int) -> Trace:
        """Everything that was noted until now."""
        return Trace(
            id=self.id,
            began_ns=self.began_ns,
            ended_ns=self._at(self._passed_ms()),
            stages=tuple(self.stages),
            collection=collection,
            passages=passages,
            max_answer_tokens=max_answer_tokens,
            answer=self.answer,
            prompt=self.prompt,
            error=self.error,
        )

    def _passed_ms(self) -> float:
        return (time.perf_counter() - self._began_s) * 1000

    def _at(self, passed_ms: float) -> int:
        """The wall clock's time, without its jumps."""
        return self.began_ns + round(passed_ms * 1e6)


def log_answer(id_: str, answer: Answer, prompt: Prompt | None) -> None:
    """One line without any text of the question; that is only in debug."""
    logger.info(
        "answered id=%s model=%r prompt=%s prompt_tokens=%d hits=%d left_out=%d citations=%d dropped=%d moved=%d "
        "unsupported=%d expanded=%d notes=%d abstained=%s %s",
        id_,
        answer.model,
        answer.prompt_version or "-",
        prompt.token_count if prompt else 0,
        len(answer.hits),
        len(answer.left_out),
        len(answer.citations),
        answer.dropped_markers,
        answer.moved_markers,
        len(answer.unsupported),
        len(answer.expansion.texts) if answer.expansion else 0,
        len(answer.notes),
        answer.abstained,
        " ".join(f"{stage}_ms={took}" for stage, took in answer.timings_ms.items()),
    )
    logger.debug("query id=%s %r", id_, answer.query)
