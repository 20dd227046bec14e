"""Reading question and passage together: slower than comparing vectors, and better at the top."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from indexer.errors import ModelError


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
        self._model, self._tokenizer = _load(folder)
        limit = getattr(self._model.config, "max_position_embeddings", max_tokens)
        self._max_tokens = min(max_tokens, limit)
        self._batch_pairs = batch_pairs
        self._lock = threading.Lock()  # a tokenizer keeps its truncation and padding between calls

    def score(self, query: str, passages: Sequence[str]) -> list[float]:
        """One logit for each passage; a pair beyond the token limit loses the end of its longer half."""
        scores = [0.0] * len(passages)
        shortest_first = sorted(range(len(passages)), key=lambda i: len(passages[i]))
        with self._lock:
            for at in range(0, len(passages), self._batch_pairs):
                batch = shortest_first[at : at + self._batch_pairs]
                logits = self._logits([(query, passages[i]) for i in batch])
                for i, logit in zip(batch, logits, strict=True):
                    scores[i] = logit
        return scores

    def _logits(self, pairs: list[tuple[str, str]]) -> list[float]:
        import torch

        inputs = self._tokenizer(
            pairs, padding=True, truncation="longest_first", max_length=self._max_tokens, return_tensors="pt"
        )
        with torch.inference_mode():
            logits = self._model(**inputs.to(self._model.device)).logits  # (pairs, 1)
        return [float(value) for value in logits[:, 0].float().cpu()]


def _load(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    remedy = "Set retriever.reranker to the folder of a sentence-transformers cross-encoder."
    if not (folder / "config.json").is_file():
        raise ModelError(f"No reranker model in {folder}", remedy)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"The reranker in {folder} cannot be loaded: {error}", remedy) from error
    if model.config.num_labels != 1:
        raise ModelError(f"The model in {folder} gives {model.config.num_labels} scores a pair, not one", remedy)
    return model.eval(), tokenizer
