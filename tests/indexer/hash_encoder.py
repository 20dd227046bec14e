"""An encoder for tests: a text's vector is the sum of pseudo-random vectors of its words. Same text, same vector."""

import hashlib
import time
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from indexer.encoder import Vectors
from indexer.errors import ModelError


@cache
def word_vector(word: str, dim: int) -> Vectors:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).normal(size=dim).astype(np.float32)


class HashEncoder:
    """Counts the texts it encodes; refuses those that hold `poison`."""

    def __init__(self, fingerprint: str = "hash-1", dim: int = 32, poison: str = "", pause_s: float = 0.0) -> None:
        self.fingerprint, self.dim, self.query_instruction = fingerprint, dim, ""
        self.max_tokens = 512
        self.poison, self.pause_s = poison, pause_s
        self.encoded = 0

    def encode(
        self, texts: Sequence[str], instruction: str = "", on_progress: Callable[[int], None] | None = None
    ) -> Vectors:
        if self.poison and any(self.poison in text for text in texts):
            raise ModelError("The model choked on a text", "Try another model.")
        time.sleep(self.pause_s * len(texts))
        rows = [sum(word_vector(word, self.dim) for word in text.lower().split()) for text in texts]
        self.encoded += len(texts)
        if on_progress:
            on_progress(len(texts))
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def build_counter() -> Callable[[Sequence[str]], list[int]]:
    return HashEncoder().count_tokens
