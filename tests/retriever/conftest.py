"""A real collection filled from plain texts, and an encoder small enough to follow by eye."""

import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from indexer.collection import Collection
from indexer.document import Chunk, Document
from indexer.encoder import Vectors
from indexer.store.records import Manifest
from indexer.store.text import embed_text

sys.path.append(str(Path(__file__).parent))

DIM = 24


class WordEncoder:
    """A text is the sum of its words' directions; each word has a random one, drawn by its hash."""

    def __init__(self, fingerprint: str = "words-1") -> None:
        self.fingerprint = fingerprint
        self.dim = DIM
        self.query_instruction = "find"
        self.max_tokens = 512
        self.calls: list[tuple[tuple[str, ...], str]] = []

    def encode(
        self, texts: Sequence[str], instruction: str = "", on_progress: Callable[[int], None] | None = None
    ) -> Vectors:
        self.calls.append((tuple(texts), instruction))
        rows = np.array([sum((_direction(word) for word in text.lower().split()), np.zeros(DIM)) for text in texts])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def _direction(word: str) -> np.ndarray:
    return np.random.default_rng(int(hashlib.sha256(word.encode()).hexdigest()[:8], 16)).standard_normal(DIM)


def add_texts(collection: Collection, encoder: WordEncoder, texts: Sequence[str], prefix: str = "doc") -> list[str]:
    """Store each text as a document of one chunk; returns the document ids."""
    ids = [f"{prefix}{number}" for number in range(len(texts))]
    with collection.writer() as writer:
        writer.begin(Manifest(encoder.fingerprint, encoder.dim, "test", "test", "2026-01-01T00:00:00+00:00"))
        for id_, text in zip(ids, texts, strict=True):
            document = Document(id_, f"/{id_}.txt", f"Title {id_}", "text/plain", id_, text)
            vectors = encoder.encode([embed_text(document.title, (), text)])
            writer.add(document, [Chunk(f"{id_}:0", id_, text, 0, len(text))], vectors)
    return ids


@pytest.fixture
def encoder() -> WordEncoder:
    return WordEncoder()


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return Collection.open(tmp_path, "test", create=True)


@pytest.fixture
def fill(collection: Collection, encoder: WordEncoder) -> Callable[..., list[str]]:
    """Add texts to the collection: `fill(texts, prefix="doc")`."""
    return lambda texts, prefix="doc": add_texts(collection, encoder, texts, prefix)
