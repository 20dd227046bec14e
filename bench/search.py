"""How fast a collection is searched, how that grows with its size, and what it costs beside bare FAISS and tantivy.

    python -m bench.search --chunks 10000,100000,1000000 --folder /large/disk/search

Each size has a collection of real passages repeated with variation (bench/search_made.py), which is made once and kept
under --folder; making a million takes half an hour and goes on where it was stopped. Questions are those of the shared
sets, with given vectors: no encoder runs. Each phase has a process of its own, with one thread for FAISS, as a single
search has: "open" is the time until a fresh process has answered a first question from both indexes; "search" takes
bm25, dense, hybrid (ten of a hundred candidates each) and the bare calls of both libraries in turns for each question,
so that other work on the machine strikes all alike ("cpu" is the median of processor time, which it strikes least; all
in milliseconds). The bare calls give a hundred hits each, FAISS at our efSearch and tantivy for a query that is built.
`overhead` is held against their sum, though hybrid runs both at once; `overhead_cpu` gains nothing by that. recall@10
is that of the dense index against an exact scan, with a 95% interval; "peer" is rank-bm25 with the same terms, and bare
tantivy for ten; "readers" are eight threads that search without a pause, first alone, then while another process
writes into a copy of the collection. The last line is JSON. The exit code is 1 when a bar is missed.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bench.million import exact
from bench.search_made import DIM, NAME, SETS, documents, passages, question_vectors, questions, write
from eval.statistics import bootstrap_interval
from indexer.collection import Collection
from indexer.encoder import Vectors
from indexer.store.records import FileRow
from indexer.store.text import analyze, embed_text, query_terms
from retriever.search import Retriever

ASKED, RECALLED, PEER_ASKED = 300, 200, 5
DEPTH, READERS, WRITING_S = 100, 8, 15.0
RECALL_BAR, HYBRID_BAR_MS, OVERHEAD_BAR, GROWTH_BAR, PEER_BAR = 0.98, 10.0, 0.25, 2.5, 1000.0
READER_BAR, MEMORY_BAR_MB, OPEN_BAR_S = 3.0, 2000, 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", default="10000,100000", help="sizes, with commas between them")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "footnote-search")
    parser.add_argument("--bench", type=Path, default=os.environ.get("FOOTNOTE_BENCH", "../shared/bench"))
    parser.add_argument("--parts", default="open,search,peer,readers", help="phases to run")
    parser.add_argument("--peer-chunks", type=int, default=100_000, help="the size at which rank-bm25 is run")
    options = parser.parse_args()
    if missing := [name for name in SETS if not (options.bench / name).is_dir()]:
        sys.exit(
            f"{options.bench} does not hold {', '.join(missing)}: name the folder of the shared sets with --bench."
        )
    sizes, parts = [int(size) for size in options.chunks.split(",")], options.parts.split(",")
    told: dict[str, Any] = {"bench": "search", "dim": DIM, "sizes": {}}
    for size in sizes:
        folder = options.folder / str(size)
        alone(write_phase, folder, options.bench, size)
        phases = {"open": open_cold, "search": search, "readers": readers}
        if size == options.peer_chunks:
            phases["peer"] = peer
        told["sizes"][size] = {}
        for name, phase in phases.items():
            if name in parts:
                told["sizes"][size][name] = alone(phase, folder, options.bench, size)
                print(f"{size:>8} {name:8} {json.dumps(told['sizes'][size][name])}", flush=True)
    bars = judged(told["sizes"])
    print(json.dumps({**told, "bars": bars, "passed": all(bars.values())}))
    sys.exit(0 if all(bars.values()) else 1)


def alone(phase: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    """Run a phase in a process of its own, which may have others."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(phase, *given).result()


def judged(sizes: dict[int, Any]) -> dict[str, bool]:
    """Which bars are met, of those that were measured."""
    bars = {}
    for size, told in sizes.items():
        if "search" in told:
            bars[f"recall {size}"] = told["search"]["recall_at_10"] >= RECALL_BAR
            bars[f"hybrid {size}"] = told["search"]["hybrid"]["p50"] < HYBRID_BAR_MS
            bars[f"overhead {size}"] = told["search"]["overhead"] < OVERHEAD_BAR
            bars[f"memory {size}"] = told["search"]["resident_mb"] < MEMORY_BAR_MB
        if "open" in told:
            bars[f"open {size}"] = told["open"]["seconds"] < OPEN_BAR_S
        if "readers" in told:
            bars[f"readers {size}"] = told["readers"]["ratio"] < READER_BAR and not told["readers"]["errors"]
        if "peer" in told:
            bars[f"rank-bm25 {size}"] = told["peer"]["times"] >= PEER_BAR
    if {100_000, 1_000_000} <= {size for size, told in sizes.items() if "search" in told}:
        small, large = (sizes[size]["search"]["hybrid"]["p50"] for size in (100_000, 1_000_000))
        bars["growth"] = large / small < GROWTH_BAR
    return bars


def write_phase(folder: Path, bench: Path, chunks: int) -> dict[str, Any]:
    """Make the collection, if it is not there whole."""
    if not (folder / "collections").exists() or Collection.open(folder, NAME).count() < chunks:
        write(folder, bench, chunks)
    began = time.perf_counter()
    Collection.open(folder, NAME).lexical.search("brought up to date before anything is timed", 1)
    return {"seconds": round(time.perf_counter() - began, 2)}


def open_cold(folder: Path, bench: Path, chunks: int) -> dict[str, Any]:
    """Open the collection and answer one question from both indexes; the files may be in the system's cache."""
    asked, vector = questions(bench, 1)[0], question_vectors(1)[0]
    import faiss  # noqa: F401 - packages are loaded once a process, whatever it opens
    import tantivy  # noqa: F401

    began = time.perf_counter()
    collection = Collection.open(folder, NAME)
    found = Retriever(collection, Given({asked: vector})).search(asked)
    seconds = time.perf_counter() - began
    assert len(found) == 10, "ten passages"
    return {"seconds": round(seconds, 2)}


def search(folder: Path, bench: Path, chunks: int) -> dict[str, Any]:
    """Time every mode and the bare calls, question by question, and compare the graph with an exact scan."""
    import faiss

    faiss.omp_set_num_threads(1)
    collection, asked, vectors = Collection.open(folder, NAME), questions(bench, ASKED), question_vectors(ASKED)
    retriever = Retriever(collection, Given(dict(zip(asked, vectors, strict=True))))
    retriever.search(asked[0])
    modes: dict[str, Callable[[int], Any]] = {
        "bm25": lambda at: retriever.search(asked[at], mode="bm25"),
        "dense": lambda at: retriever.search(asked[at], mode="dense"),
        "hybrid": lambda at: retriever.search(asked[at]),
    }
    ask_all(modes, len(asked))
    resident_mb, own_mb = status_mb("VmRSS"), status_mb("RssAnon")  # before the bare calls map the same files again
    modes |= {"bare_tantivy": bare_tantivy(collection, asked), "bare_faiss": bare_faiss(collection, vectors)}
    ask_all(modes, len(asked))
    spent: dict[str, list[float]] = {name: [] for name in modes}
    used: dict[str, list[float]] = {name: [] for name in modes}
    for at in range(len(asked)):
        for name, call in modes.items():
            before = time.process_time()
            spent[name].append(timed(call, at))
            used[name].append(1000 * (time.process_time() - before))
    cpu = {name: quantile(times, 50) for name, times in used.items()}
    p50 = {name: quantile(times, 50) for name, times in spent.items()}
    hits = [collection.dense.search(vector, 10) for vector in vectors[:RECALLED]]
    recalls = recall(hits, exact(collection, vectors[:RECALLED], 10))
    low, high = bootstrap_interval(recalls)
    return {
        **{name: {"p50": p50[name], "p95": quantile(times, 95), "cpu": cpu[name]} for name, times in spent.items()},
        "overhead": round(p50["hybrid"] / (p50["bare_tantivy"] + p50["bare_faiss"]) - 1, 3),
        "overhead_cpu": round(cpu["hybrid"] / (cpu["bare_tantivy"] + cpu["bare_faiss"]) - 1, 3),
        "resident_mb": resident_mb,
        "own_mb": own_mb,
        "recall_at_10": round(float(np.mean(recalls)), 4),
        "recall_ci95": [round(low, 4), round(high, 4)],
    }


def ask_all(modes: Mapping[str, Callable[[int], Any]], count: int) -> None:
    """Ask everything once, so that each page of the files has been asked for."""
    for call in modes.values():
        for at in range(count):
            call(at)


def bare_tantivy(collection: Collection, asked: Sequence[str], limit: int = DEPTH) -> Callable[[int], Any]:
    """The least that BM25 search takes: tantivy's own search for a query that is built already."""
    from tantivy import Index, Occur, Query

    folder = next(path for path in (collection.generation.folder / "lexical").iterdir() if path.is_dir())
    index = Index.open(str(folder))
    searcher = index.searcher()
    queries = [
        Query.boolean_query(
            [(Occur.Should, Query.term_query(index.schema, "text", term)) for term in query_terms(text)]
        )
        for text in asked
    ]
    return lambda at: searcher.search(queries[at], limit=limit, count=False).hits


def bare_faiss(collection: Collection, vectors: Vectors) -> Callable[[int], Any]:
    """The least that dense search takes: FAISS's own search of the same graph with the same efSearch."""
    import faiss

    base = collection.dense.base()
    assert base is not None, "a graph"
    parameters = faiss.SearchParametersHNSW(efSearch=3 * DEPTH)
    return lambda at: base.index.search(vectors[at : at + 1], DEPTH, params=parameters)


def recall(found: Sequence[Sequence[tuple[int, float]]], least: Sequence[float]) -> list[float]:
    """Share of the found that are as near as the last of the exact ones, for each question."""
    return [sum(score >= edge - 1e-5 for _, score in hits) / len(hits) for hits, edge in zip(found, least, strict=True)]


def peer(folder: Path, bench: Path, chunks: int) -> dict[str, Any]:
    """rank-bm25's own search beside ours, for the ten best of the same questions."""
    from rank_bm25 import BM25Okapi

    collection, asked = Collection.open(folder, NAME), questions(bench, ASKED)
    passages_of = [analyze(embed_text(title, path, text)) for _, title, path, text in collection.texts()]
    theirs = BM25Okapi(passages_of)
    numbers = list(range(len(passages_of)))
    collection.lexical.search(asked[0], 10)
    bare = bare_tantivy(collection, asked, 10)
    ours_ms = quantile([timed(lambda at: collection.lexical.search(asked[at], 10), at) for at in range(ASKED)], 50)
    bare_ms = quantile([timed(bare, at) for at in range(ASKED)], 50)
    calls = [timed(lambda at: theirs.get_top_n(query_terms(asked[at]), numbers, 10), at) for at in range(PEER_ASKED)]
    theirs_ms = quantile(calls, 50)
    return {
        "ours_ms": ours_ms,
        "bare_tantivy_ms": bare_ms,
        "rank_bm25_ms": theirs_ms,
        "times": round(theirs_ms / ours_ms),
        "times_bare": round(theirs_ms / bare_ms),
    }


def readers(folder: Path, bench: Path, chunks: int) -> dict[str, Any]:
    """Eight readers alone, then beside a writer, on a copy of the collection."""
    import faiss

    faiss.omp_set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        copy = Path(place) / "copy"
        shutil.copytree(folder, copy)
        collection, asked, vectors = Collection.open(copy, NAME), questions(bench, ASKED), question_vectors(ASKED)
        retriever = Retriever(collection, Given(dict(zip(asked, vectors, strict=True))))
        ask_together(retriever, asked, time.monotonic() + 2)
        idle, errors = ask_together(retriever, asked, time.monotonic() + WRITING_S / 2)
        before = collection.count()
        stop = multiprocessing.get_context("spawn").Event()
        writer = multiprocessing.get_context("spawn").Process(target=keep_writing, args=(copy, bench, chunks, stop))
        writer.start()
        while collection.count() == before and writer.is_alive():
            time.sleep(0.1)
        busy, more = ask_together(retriever, asked, time.monotonic() + WRITING_S)
        stop.set()
        writer.join()
        return {
            "idle_ms": {"p50": quantile(idle, 50), "p95": quantile(idle, 95), "n": len(idle)},
            "writing_ms": {"p50": quantile(busy, 50), "p95": quantile(busy, 95), "n": len(busy)},
            "written": collection.count() - before,
            "ratio": round(quantile(busy, 95) / quantile(idle, 95), 2),
            "errors": [*errors, *more, *([] if writer.exitcode == 0 else ["the writer failed"])][:5],
        }


def keep_writing(folder: Path, bench: Path, chunks: int, stop: Any) -> None:
    """Add documents one by one until told to stop, as an ingestion of small files does."""
    words = passages(bench)
    with Collection.open(folder, NAME).writer(command="bench") as writer:
        for document, parts, vectors in documents(words, chunks // 10_000 + 1, 10_000):
            if stop.is_set():
                return
            writer.add(document, parts, vectors, FileRow(document.source, "indexed", document_id=document.id))


def ask_together(retriever: Retriever, asked: Sequence[str], until: float) -> tuple[list[float], list[str]]:
    """Milliseconds of every search of READERS threads, and what went wrong."""
    spent: list[float] = []
    errors: list[str] = []

    def ask(first: int) -> None:
        at = first
        while time.monotonic() < until:
            try:
                spent.append(timed(lambda at: retriever.search(asked[at % len(asked)]), at))
            except Exception as error:  # whatever it is, a reader must not see it
                errors.append(repr(error))
            at += READERS

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return spent, errors


class Given:
    """An encoder whose vectors are given."""

    fingerprint, dim, query_instruction, max_tokens = "made here", DIM, "", 512

    def __init__(self, vectors: dict[str, Vectors]) -> None:
        self._vectors = vectors

    def encode(self, texts: Sequence[str], instruction: str = "", on_progress: Any = None) -> Vectors:
        return np.stack([self._vectors[text] for text in texts])

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def timed(call: Callable[[int], Any], at: int) -> float:
    """Milliseconds of one call."""
    began = time.perf_counter()
    call(at)
    return 1000 * (time.perf_counter() - began)


def quantile(times: Sequence[float], percent: float) -> float:
    return round(float(np.percentile(times, percent)), 3)


def status_mb(name: str) -> int:
    """A line of this process's memory: VmRSS counts mapped files that are in memory, RssAnon only what is its own."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) // 1024


if __name__ == "__main__":
    main()
