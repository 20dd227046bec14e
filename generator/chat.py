"""What a chat model is. There are two: any OpenAI-compatible server, and the reader embedded in this process."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

from generator.prompt import Prompt
from generator.usage import Usage


@dataclass(frozen=True, slots=True)
class Written:
    """What a text took and how sure its writer was; None is what the model does not tell."""

    usage: Usage | None = None
    log_p_token: float | None = None  # mean log-probability of a written token, in nats


Pieces = Generator[str, None, Written | None]


class ChatModel(Protocol):
    """Writes an answer to a prompt, piece by piece. Thread-safe."""

    @property
    def name(self) -> str:
        """What to show as the model of an answer."""

    @property
    def context_tokens(self) -> int:
        """Tokens that prompt and answer may have together."""

    @property
    def follows_instructions(self) -> bool:
        """Whether free instructions, such as rewriting a question, are worth sending."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, or an upper bound."""

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Pieces:
        """Write the answer in pieces, and return what it took. Closing the generator stops the work.

        The text cites passages as [n], or is the declining sentence when the passages do not hold the answer.

        Raises:
            ModelError: the model is missing, unreachable, refuses the prompt or answers with nonsense.
        """


class Counted:
    """A chat model for the length of one question: it keeps what each of its calls took, and how sure the last was."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model
        self._calls: list[Written] = []

    @property
    def name(self) -> str:
        """As the model's."""
        return self._model.name

    @property
    def follows_instructions(self) -> bool:
        """As the model's."""
        return self._model.follows_instructions

    @property
    def context_tokens(self) -> int:
        """As the model's."""
        return self._model.context_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """As the model's."""
        return self._model.count_tokens(texts)

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Pieces:
        """As the model's."""
        told = yield from self._model.stream(prompt, max_tokens)
        self._calls.append(told or Written())
        return told

    @property
    def usage(self) -> Usage | None:
        """Of all calls together; None when there was none, or one of them did not tell."""
        told = [call.usage for call in self._calls if call.usage is not None]
        return sum(told, Usage()) if told and len(told) == len(self._calls) else None

    @property
    def log_p_token(self) -> float | None:
        """Of the last call, to four digits: the rest changes with what else a server computes."""
        log_p = self._calls[-1].log_p_token if self._calls else None
        return None if log_p is None else round(log_p, 4)
