"""Reading a chat completion that a server streams: its text, why it ended, what it took and how sure the model was."""

import math
from typing import Any

from generator.chat import Written
from generator.usage import Usage


class StreamedCompletion:
    """Takes the chunks of one completion. What a server does not tell stays None."""

    def __init__(self) -> None:
        self.is_chat = False  # whether any chunk came
        self.reason: str | None = None  # why it ended
        self._usage: Usage | None = None
        self._log_ps: list[float] = []

    def take(self, chunk: Any) -> str:
        """The text of one chunk.

        Raises:
            TypeError, AttributeError, IndexError: it is no chunk of a chat completion.
        """
        self._usage = _usage(getattr(chunk, "usage", None)) or self._usage
        if isinstance(chunk.choices, list) and not chunk.choices:
            text = None  # the last one only counts tokens
        else:
            choice = chunk.choices[0]
            text = choice.delta.content
            if not isinstance(text, str | None):
                raise TypeError("content is not text")
            self.reason = choice.finish_reason or self.reason
            self._log_ps += _log_ps(getattr(choice, "logprobs", None))
        self.is_chat = True
        return text or ""

    @property
    def written(self) -> Written:
        """What was told until now."""
        return Written(self._usage, math.fsum(self._log_ps) / len(self._log_ps) if self._log_ps else None)


def _usage(told: Any) -> Usage | None:
    read, wrote = getattr(told, "prompt_tokens", None), getattr(told, "completion_tokens", None)
    return Usage(1, read, wrote) if isinstance(read, int) and isinstance(wrote, int) else None


def _log_ps(told: Any) -> list[float]:
    found = [getattr(token, "logprob", None) for token in getattr(told, "content", None) or ()]
    return [float(log_p) for log_p in found if isinstance(log_p, int | float) and math.isfinite(log_p)]
