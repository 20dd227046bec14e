"""What calls of a model take, in tokens and in money."""

from dataclasses import asdict, dataclass
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

    def as_json(self) -> dict[str, Any]:
        """The three numbers by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Prices:
    """Money for a million tokens, in whatever currency the user counts."""

    per_million_in: float
    per_million_out: float

    def of(self, usage: Usage) -> float:
        """What calls cost."""
        paid = usage.prompt_tokens * self.per_million_in + usage.completion_tokens * self.per_million_out
        return paid / 1_000_000
