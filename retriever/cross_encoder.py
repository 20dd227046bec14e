"""A model that reads two texts together and gives a logit for each of its labels."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from indexer.errors import ModelError


class CrossEncoder:
    """A sequence classifier in a local folder, as sentence-transformers writes them. Thread-safe.

    Raises:
        ModelError: the folder holds no such model. `kind` and `remedy` say what it was wanted for.
    """

    def __init__(
        self, folder: Path, max_tokens: int = 512, batch_pairs: int = 16, *, kind: str = "cross-encoder", remedy: str
    ) -> None:
        self._model, self._tokenizer = _load(folder, kind, remedy)
        limit = getattr(self._model.config, "max_position_embeddings", max_tokens)
        self._max_tokens = min(max_tokens, limit)
        self._batch_pairs = batch_pairs
        self._lock = threading.Lock()  # a tokenizer keeps its truncation and padding between calls

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels, in the order of their logits."""
        named = self._model.config.id2label
        return tuple(str(named[index]) for index in range(self._model.config.num_labels))

    def logits(self, pairs: Sequence[tuple[str, str]]) -> list[list[float]]:
        """One row of logits for each pair; a pair beyond the token limit loses the end of its longer half."""
        rows: list[list[float]] = [[] for _ in pairs]
        shortest_first = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
        with self._lock:
            for at in range(0, len(pairs), self._batch_pairs):
                batch = shortest_first[at : at + self._batch_pairs]
                for i, row in zip(batch, self._batch([pairs[i] for i in batch]), strict=True):
                    rows[i] = row
        return rows

    def _batch(self, pairs: list[tuple[str, str]]) -> list[list[float]]:
        import torch

        inputs = self._tokenizer(
            pairs, padding=True, truncation="longest_first", max_length=self._max_tokens, return_tensors="pt"
        )
        with torch.inference_mode():
            logits = self._model(**inputs.to(self._model.device)).logits  # (pairs, labels)
        return [[float(value) for value in row] for row in logits.float().cpu()]


def _load(folder: Path, kind: str, remedy: str) -> tuple[Any, Any]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    if not (folder / "config.json").is_file():
        raise ModelError(f"No {kind} model in {folder}", remedy)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"The {kind} in {folder} cannot be loaded: {error}", remedy) from error
    return model.eval(), tokenizer
