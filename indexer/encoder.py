"""What an encoder is. The LLM2Vec one lives in indexer/llm2vec; tests use small fakes of this."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


class Encoder(Protocol):
    """Turns texts into unit vectors. Thread-safe: one instance serves every session of the page."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes a vector: weights, adapter, pooling, instruction, limit, dim."""

    @property
    def dim(self) -> int:
        """Length of one vector."""

    @property
    def max_tokens(self) -> int:
        """Most tokens of a text, as `count_tokens` counts them, that are encoded; the rest is cut."""

    @property
    def query_instruction(self) -> str:
        """Instruction to give with queries; passages are encoded without one."""

    def encode(
        self,
        texts: Sequence[str],
        instruction: str = "",
        on_progress: Callable[[int], None] | None = None,
    ) -> Vectors:
        """Encode to unit rows `(len(texts), dim)`; `on_progress` gets the number of texts done so far.

        Raises:
            ModelError: a text is empty or only whitespace, or the model cannot run.
        """

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text under the encoder's tokenizer, without special tokens."""
