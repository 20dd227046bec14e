"""What a chat model is. There are two: any OpenAI-compatible server, and the reader embedded in this process."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from generator.prompt import Prompt


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

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Iterator[str]:
        """Write the answer in pieces. Closing the iterator stops the work.

        The text cites passages as [n], or is the declining sentence when the passages do not hold the answer.

        Raises:
            ModelError: the model is missing, unreachable, refuses the prompt or answers with nonsense.
        """
