"""The two indexes beside each other: the same chunks and vectors in files and in a Milvus.

    FOOTNOTE_HOME=/some/folder python bench/milvus.py --set ../shared/bench/cranfield --to milvus:/some/folder/bench.db
    python bench/milvus.py --chunks 5000 --to milvus:/some/folder/bench.db

Moves a collection there with migrate(), asks both the same questions in all three modes, and moves it back. Quality is
nDCG@10 with a paired interval; times leave out the encoder. Prints one JSON line last.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.resolved import index_settings
from app.settings import Settings, load_settings
from app.wiring import build_encoder
from bench.million import documents, questions, text_of
from eval.dataset import Case, load_dataset
from eval.index import index_corpus
from eval.metrics import score_rankings
from eval.statistics import compare_paired
from indexer.collection import Collection
from indexer.migrate import Migrated, migrate
from indexer.milvus.address import Address, parse_address
from indexer.store.records import Manifest
from retriever.fusion import Ranking, convex

CANDIDATES = 100
Rankings = dict[str, dict[str, list[str]]]  # mode: question: sources


def main() -> None:
    """Measure one set, or made-up chunks, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", type=Path, help="a data set of questions with graded entries")
    parser.add_argument("--chunks", type=int, default=5000, help="made-up chunks, where no set is given")
    parser.add_argument("--dim", type=int, default=384, help="of their vectors")
    parser.add_argument("--questions", type=int, default=50, help="of the made-up chunks")
    parser.add_argument("--to", required=True, metavar="milvus:FILE.db|milvus://HOST:PORT")
    arguments = parser.parse_args()
    settings, address = load_settings(), parse_address(arguments.to)
    if arguments.set:
        told = measure_set(arguments.set, settings, address)
    else:
        told = measure_made(arguments.chunks, arguments.dim, arguments.questions, settings, address)
    print(json.dumps({"benchmark": "milvus", "to": arguments.to.partition(":")[0], **told}))


def measure_set(folder: Path, settings: Settings, address: Address) -> dict[str, Any]:
    """Quality and times of both on one set."""
    encoder, dataset = build_encoder(settings), load_dataset(folder)
    opened = index_corpus(dataset, settings.home, encoder)
    collection = Collection.open(opened.home, opened.name, index=index_settings(settings))
    cases = dataset.judged
    vectors = encoder.encode([case.question for case in cases], encoder.query_instruction)
    migrate(collection, None)  # in case an earlier run was cut off
    local, local_ms = ask(collection, cases, vectors, settings)
    seconds, moved = timed_migration(collection, address)
    there, there_ms = ask(collection, cases, vectors, settings)
    migrate(collection, None)
    collection.close()
    relevant = {case.id: case.relevant for case in cases}
    return {
        "set": dataset.name,
        "questions": len(cases),
        "dim": encoder.dim,
        **written(seconds, moved),
        "ndcg@10": {mode: compared(relevant, local[mode], there[mode]) for mode in local},
        "local_ms_p50": local_ms,
        "milvus_ms_p50": there_ms,
    }


def measure_made(chunks: int, dim: int, count: int, settings: Settings, address: Address) -> dict[str, Any]:
    """Times of both on made-up chunks, and how alike their answers are."""
    with tempfile.TemporaryDirectory() as folder:
        collection = Collection.open(Path(folder), "made", create=True, index=index_settings(settings))
        with collection.writer(command="bench") as writer:
            writer.begin(Manifest("made here", dim, "none", "none", ""))
            for document, parts, vectors in documents(chunks, dim, 0):
                writer.add(document, parts, vectors)
        rng = np.random.default_rng(1)
        texts = [text_of(rng) for _ in range(count)]
        cases = [Case(str(number), text) for number, text in enumerate(texts)]
        vectors = questions(count, dim, 0)
        local, local_ms = ask(collection, cases, vectors, settings)
        seconds, moved = timed_migration(collection, address)
        there, there_ms = ask(collection, cases, vectors, settings)
        migrate(collection, None)
        collection.close()
    same = {
        mode: round(
            fmean(len(set(local[mode][each][:10]) & set(there[mode][each][:10])) / 10 for each in local[mode]), 4
        )
        for mode in local
    }
    return {
        "chunks": chunks,
        "dim": dim,
        "questions": count,
        **written(seconds, moved),
        "same_of_first_10": same,
        "local_ms_p50": local_ms,
        "milvus_ms_p50": there_ms,
    }


def ask(
    collection: Collection, cases: Sequence[Case], vectors: Any, settings: Settings
) -> tuple[Rankings, dict[str, float]]:
    """Rank every question in all modes; and the median time of each search."""
    section = settings.retriever
    lexical: list[Ranking] = []
    dense: list[Ranking] = []
    spent: dict[str, list[float]] = {"bm25": [], "dense": []}
    collection.lexical.search(cases[0].question, CANDIDATES)  # opening is another matter
    collection.dense.search(vectors[0], CANDIDATES)
    for case, vector in zip(cases, vectors, strict=True):
        began = time.perf_counter()
        lexical.append(collection.lexical.search(case.question, CANDIDATES))
        between = time.perf_counter()
        dense.append(collection.dense.search(vector, CANDIDATES))
        spent["bm25"].append(between - began)
        spent["dense"].append(time.perf_counter() - between)
    keys = sorted({key for ranking in [*lexical, *dense] for key, _ in ranking})
    source = {key: f"{stored.source}#{key}" for key, stored in collection.chunks(keys).items()}
    by_mode = {
        "bm25": lexical,
        "dense": dense,
        "hybrid": [
            convex(words, meaning, section.dense_weight, section.normalisation)
            for words, meaning in zip(lexical, dense, strict=True)
        ],
    }
    rankings = {
        mode: {case.id: [source[key] for key, _ in ranking] for case, ranking in zip(cases, found, strict=True)}
        for mode, found in by_mode.items()
    }
    return rankings, {mode: round(1000 * median(times), 2) for mode, times in spent.items()}


def timed_migration(collection: Collection, address: Address) -> tuple[float, Migrated]:
    """Move a collection's index, and take the time."""
    began = time.perf_counter()
    moved = migrate(collection, address)
    return time.perf_counter() - began, moved


def written(seconds: float, moved: Migrated) -> dict[str, Any]:
    """What a migration took."""
    return {"written": moved.written, "seconds": round(seconds, 1), "chunks_per_s": round(moved.written / seconds)}


def compared(
    relevant: Mapping[str, Mapping[str, int]], local: Mapping[str, Sequence[str]], there: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """nDCG@10 of both, and the difference with its interval."""
    by_entry = [
        {case: [source.rpartition("#")[0] for source in ranking] for case, ranking in each.items()}
        for each in (local, there)
    ]
    ours, theirs = (score_rankings(relevant, each)["ndcg@10"] for each in by_entry)
    test = compare_paired([ours[case] for case in ours], [theirs[case] for case in ours])
    low, high = test.ci95
    return {
        "local": round(fmean(ours.values()), 4),
        "milvus": round(fmean(theirs.values()), 4),
        "difference": round(test.difference, 4),
        "ci95": [round(low, 4), round(high, 4)],
    }


if __name__ == "__main__":
    main()
