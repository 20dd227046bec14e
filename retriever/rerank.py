"""Reading question and passage together: slower than comparing vectors, and better at the top."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from indexer.errors import ModelError
from retriever.cross_encoder import CrossEncoder

_REMEDY = "Set retriever.reranker to the folder of a sentence-transformers cross-encoder."


class Reranker(Protocol):
    """Scores passages for a query; only the order of the scores means anything. Thread-safe."""

    def score(self, query: str, passages: Sequence[str]) -> list[float]:
        """One score for each passage, higher is better."""


class CrossEncoderReranker:
    """A sentence-transformers cross-encoder in a local folder: one logit for a pair, as in Nogueira and Cho 2019.

    Raises:
        ModelError: the folder holds no sequence classifier with one output.
    """

    def __init__(self, folder: Path, max_tokens: int = 512, batch_pairs: int = 16) -> None:
        self._model = CrossEncoder(folder, max_tokens, batch_pairs, kind="reranker", remedy=_REMEDY)
        if (labels := len(self._model.labels)) != 1:
            raise ModelError(f"The model in {folder} gives {labels} scores a pair, not one", _REMEDY)

    def score(self, query: str, passages: Sequence[str]) -> list[float]:
        """One logit for each passage; a pair beyond the token limit loses the end of its longer half."""
        return [logit for (logit,) in self._model.logits([(query, passage) for passage in passages])]
