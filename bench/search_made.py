"""Collections of any size for bench/search.py: real passages repeated with variation, vectors in clusters.

The passages of the shared sets are cut into windows of WORDS words. Each chunk is one of them, in which every fifth
word is replaced by one drawn from all words of all passages: rare and frequent words stay as rare and frequent as they
are, and no two chunks are equal. Vectors are those of bench/million.py. What is written is a function of size and seed.
"""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.million import Cloud
from indexer.collection import Collection
from indexer.document import Chunk, Document
from indexer.encoder import Vectors
from indexer.store.records import FileRow, Manifest

SETS = ("cranfield", "scifact", "qed-dev", "squad2-dev", "covid-qa", "clapnq-dev")
WORDS, TOGETHER, REPLACED = 60, 20, 0.2
DIM, SEED = 576, 8
_BLOCK = 10_000  # chunks that are committed together
NAME = "search"

Words = np.ndarray[Any, np.dtype[np.object_]]


def write(folder: Path, bench: Path, chunks: int) -> None:
    """Make the collection of this size, or go on where making it was stopped: a block is there whole or not at all."""
    collection = Collection.open(folder, NAME, create=True)
    words = passages(bench)
    with collection.writer(command="bench") as writer:
        writer.begin(Manifest("made here", DIM, "none", "none", ""))
        began, before = time.monotonic(), collection.count()
        for block in range(before // _BLOCK, -(-chunks // _BLOCK)):
            with writer.together():
                for document, parts, vectors in documents(words, block, min(_BLOCK, chunks - block * _BLOCK)):
                    row = FileRow(document.source, "indexed", document_id=document.id, chunks=len(parts))
                    writer.add(document, parts, vectors, row)
            done = (block + 1) * _BLOCK - before
            logging.info("%d of %d chunks, %.0f a second", before + done, chunks, done / (time.monotonic() - began))
    collection.close()


def documents(words: Words, block: int, count: int) -> Iterator[tuple[Document, list[Chunk], Vectors]]:
    """The documents of one block, with their chunks and vectors (TOGETHER, DIM)."""
    rng = np.random.default_rng((SEED, block))
    vectors = cloud().draw(rng, count)
    for at in range(0, count, TOGETHER):
        name = f"{block * _BLOCK + at:09}"
        texts = varied(words, rng, min(TOGETHER, count - at))
        starts = np.cumsum([0, *(len(text) + 1 for text in texts)])[:-1].tolist()
        title = " ".join(texts[0].split()[:5])
        document = Document(name, f"/made/{name}.txt", title, "text/plain", name, "\n".join(texts))
        pieces = [
            Chunk(f"{name}:{n}", name, text, start, start + len(text))
            for n, (text, start) in enumerate(zip(texts, starts, strict=True))
        ]
        yield document, pieces, vectors[at : at + TOGETHER]


def varied(words: Words, rng: np.random.Generator, count: int) -> list[str]:
    """Windows of the passages with every fifth word replaced."""
    starts = rng.integers(0, len(words) // WORDS, count) * WORDS
    places = starts[:, None] + np.arange(WORDS)  # (count, WORDS)
    other = rng.random(places.shape) < REPLACED
    places[other] = rng.integers(0, len(words), int(other.sum()))
    return [" ".join(row) for row in words[places].tolist()]


def passages(bench: Path) -> Words:
    """All words of all passages, in order."""
    texts = [row["text"] for name in SETS for row in _rows(bench / name / "corpus.jsonl")]
    return np.array([word for text in texts for word in text.split()], object)


def questions(bench: Path, count: int, seed: int = SEED) -> list[str]:
    """Questions that people asked of those passages, drawn from all sets alike."""
    rng = np.random.default_rng((seed, 1))
    per_set = [[row["text"] for row in _rows(bench / name / "queries.jsonl")] for name in SETS]
    drawn = [asked[at] for asked in per_set for at in rng.permutation(len(asked))[: -(-count // len(SETS))]]
    return [drawn[at] for at in rng.permutation(len(drawn))[:count]]


def question_vectors(count: int) -> Vectors:
    """Vectors (count, DIM) of the same clusters that no chunk has."""
    return cloud().draw(np.random.default_rng((SEED, 1, 2)), count)


def cloud() -> Cloud:
    """The clusters of all collections."""
    return Cloud(DIM, SEED)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)
