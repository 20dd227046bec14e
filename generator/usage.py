"""What calls of a model take, in tokens and in money."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """How many calls, the tokens they read and the tokens they wrote, as the server counted them."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(
            self.calls - other.calls,
            self.prompt_tokens - other.prompt_tokens,
            self.completion_tokens - other.completion_tokens,
        )

    def as_json(self) -> dict[str, Any]:
        """The three numbers by name."""
        return asdict(self)


@dataclass(slots=True)
class Tally:
    """What was counted while it was open."""

    total: Usage = field(default_factory=Usage)

    def beyond(self, known: Usage) -> Usage:
        """What was counted and is not known otherwise; nothing where the model does not count."""
        return self.total - known if self.total.calls > known.calls else Usage()


_open: ContextVar[Tally | None] = ContextVar("tally", default=None)


@contextmanager
def tallied() -> Iterator[Tally]:
    """Add up what `count` is told in this thread, also by calls that failed: their errors carry no usage."""
    tally = Tally()
    token = _open.set(tally)
    try:
        yield tally
    finally:
        _open.reset(token)


def count(usage: Usage) -> None:
    """Say what a call took as soon as it is known, whatever becomes of the answer."""
    if tally := _open.get():
        tally.total += usage


@dataclass(frozen=True, slots=True)
class Prices:
    """Money for a million tokens, in whatever currency the user counts."""

    per_million_in: float
    per_million_out: float

    def of(self, usage: Usage) -> float:
        """What calls cost."""
        paid = usage.prompt_tokens * self.per_million_in + usage.completion_tokens * self.per_million_out
        return paid / 1_000_000
