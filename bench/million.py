"""Very many small chunks: how fast they are written, what they take on disk and in memory, how fast they open.

    nice -n 5 python -m bench.million --chunks 1000000 --folder /large/disk/million

Documents of twenty short chunks each are added one by one, as ingest does it, with vectors that are made here in place
of an encoder: half precision, in clusters whose members differ along few directions, as those of texts do. Each phase
has a process of its own, whose peak resident memory is given: "write" ends when both indexes hold everything, "open"
is the time until a fresh process has answered a first question from both, "search" compares the graph with an exact
scan. --folder must not exist; it is removed in the end unless --keep is given. The last line is JSON. The exit code is
1 when opening took 2 s or more, or any phase 3 GB of memory or more.
"""

import argparse
import json
import logging
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from indexer.collection import Collection
from indexer.document import Chunk, Document
from indexer.encoder import Vectors
from indexer.store.records import FileRow, Manifest

MEMORY_BAR_MB, OPEN_BAR_S = 3000, 2.0
TOGETHER = 20  # chunks a document
WORDS = 12  # a chunk
CLUSTERS, DIRECTIONS = 2000, 48
_BLOCK = 10_000
_QUERIES, _EXACT = 200, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=576)
    parser.add_argument("--folder", type=Path, default=None, help="where the collection is put (a temporary folder)")
    parser.add_argument("--keep", action="store_true", help="leave the collection there")
    parser.add_argument("--seed", type=int, default=6)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    folder = options.folder or Path(tempfile.mkdtemp()) / "million"
    given = (folder, options.chunks, options.dim, options.seed)
    try:
        told = {"bench": "million", "chunks": options.chunks, "dim": options.dim}
        for name, phase in (("write", write), ("open", open_cold), ("search", search)):
            told[name] = alone(phase, *given)
            print(f"{name:8} {json.dumps(told[name])}", flush=True)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    peak = max(told[name]["peak_mb"] for name in ("write", "open", "search"))
    passed = peak < MEMORY_BAR_MB and told["open"]["seconds"] < OPEN_BAR_S
    print(json.dumps({**told, "peak_mb": peak, "passed": passed}))
    sys.exit(0 if passed else 1)


def alone(phase: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    """Run a phase in a process of its own, and add its peak resident memory."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_with_peak, (phase, *given))


def _with_peak(phase: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    told = phase(*given)
    return {**told, "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}


def write(folder: Path, chunks: int, dim: int, seed: int) -> dict[str, Any]:
    """Add every document, then let the indexes take in what is left."""
    collection = Collection.open(folder, "million", create=True)
    began = time.monotonic()
    made_s = 0.0
    with collection.writer(command="bench") as writer:
        writer.begin(Manifest("made here", dim, "none", "none", ""))
        done, told, before = 0, began, time.monotonic()
        for document, parts, vectors in documents(chunks, dim, seed):
            made_s += time.monotonic() - before
            row = FileRow(document.source, "indexed", document_id=document.id, chunks=len(parts))
            writer.add(document, parts, vectors, row)
            done += len(parts)
            if time.monotonic() - told > 10:
                told = time.monotonic()
                spent = told - began
                left = spent / done * (chunks - done)
                logging.info("%s of %s chunks, %.0f a second, %.0f s left", done, chunks, done / spent, left)
            before = time.monotonic()
        added = time.monotonic()
    spent_s = time.monotonic() - began - made_s
    sizes = {part: size_of(collection.generation.folder / part) for part in ("truth.db", "lexical", "dense")}
    return {
        "seconds": round(spent_s, 1),
        "chunks_per_s": round(chunks / spent_s),
        "last_indexing_s": round(time.monotonic() - added, 1),
        "bytes_per_chunk": {part: round(size / chunks) for part, size in sizes.items()},
        "bytes_per_chunk_total": round(sum(sizes.values()) / chunks),
        "rows_in_graph": collection.dense.base_rows(),
    }


def open_cold(folder: Path, chunks: int, dim: int, seed: int) -> dict[str, Any]:
    """Open the collection and answer one question from each index; the files may be in the system's cache."""
    query, words = questions(1, dim, seed)[0], text_of(np.random.default_rng(seed + 1))
    import faiss  # noqa: F401 - packages are loaded once a process, whatever it opens
    import tantivy  # noqa: F401

    steps = [time.monotonic()]
    collection = Collection.open(folder, "million")
    collection.lexical.search(words, 10)
    steps.append(time.monotonic())
    found = collection.chunks([key for key, _ in collection.dense.search(query, 10)])
    steps.append(time.monotonic())
    assert len(found) == 10, "ten neighbours"
    lexical_s, dense_s = np.diff(steps).tolist()
    return {"seconds": round(lexical_s + dense_s, 2), "lexical_s": round(lexical_s, 2), "dense_s": round(dense_s, 2)}


def search(folder: Path, chunks: int, dim: int, seed: int) -> dict[str, Any]:
    """Time searches of both indexes, and compare the first ten of the graph with an exact scan."""
    collection = Collection.open(folder, "million")
    queries, rng = questions(_QUERIES, dim, seed), np.random.default_rng(seed + 1)
    lexical = [timed(collection.lexical.search, text_of(rng), 10)[1] for _ in queries]
    found = [timed(collection.dense.search, query, 10) for query in queries]
    best = exact(collection, queries[:_EXACT], 10)
    hits = [score >= least - 1e-5 for (answer, _), least in zip(found, best, strict=False) for _, score in answer]
    return {
        "lexical_ms_p50": round(1000 * float(np.median(lexical)), 2),
        "dense_ms_p50": round(1000 * float(np.median([seconds for _, seconds in found])), 2),
        "recall_at_10": round(sum(hits) / (10 * len(best)), 4),
    }


def exact(collection: Collection, queries: Vectors, k: int) -> list[float]:
    """The k-th best score of each query (n, dim), by a scan of what is stored."""
    best = np.full((len(queries), k), -1.0, np.float32)
    for _, _, vectors in collection.generation.truth.vector_pages(queries.shape[1]):
        scores = np.concatenate([best, queries @ vectors.T], axis=1)
        best = -np.partition(-scores, k - 1, axis=1)[:, :k]
    return [float(row.min()) for row in best]


def timed(call: Callable[..., Any], *given: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    return call(*given), time.perf_counter() - began


def documents(chunks: int, dim: int, seed: int) -> Iterator[tuple[Document, list[Chunk], Vectors]]:
    """Documents of TOGETHER chunks, each with its own words, and their vectors (TOGETHER, dim)."""
    rng = np.random.default_rng(seed)
    cloud = Cloud(dim, seed)
    for block in range(0, chunks, _BLOCK):
        vectors = cloud.draw(rng, min(_BLOCK, chunks - block))
        for at in range(0, len(vectors), TOGETHER):
            part = vectors[at : at + TOGETHER]
            number = (block + at) // TOGETHER
            texts = [text_of(rng) for _ in part]
            starts = np.cumsum([0, *(len(text) + 1 for text in texts)])[:-1].tolist()
            name = f"{number:08}"
            document = Document(name, f"/made/{name}.txt", f"Document {number}", "text/plain", name, "\n".join(texts))
            pieces = [
                Chunk(f"{name}:{n}", name, text, start, start + len(text))
                for n, (text, start) in enumerate(zip(texts, starts, strict=True))
            ]
            yield document, pieces, part


def text_of(rng: np.random.Generator) -> str:
    """A few words, as often as words are in texts (Zipf)."""
    return " ".join(f"w{number}" for number in rng.zipf(1.3, WORDS) % 500_000)


def questions(count: int, dim: int, seed: int) -> Vectors:
    """Vectors (count, dim) of the same clusters that no chunk has."""
    return Cloud(dim, seed).draw(np.random.default_rng(seed + 2), count)


class Cloud:
    """Clusters on the unit sphere: members differ from their centre along a few directions, and a little in all."""

    def __init__(self, dim: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._centres = rng.normal(size=(CLUSTERS, dim)).astype(np.float32) / dim**0.5
        self._directions = rng.normal(size=(DIRECTIONS, dim)).astype(np.float32) / dim**0.5

    def draw(self, rng: np.random.Generator, count: int) -> Vectors:
        dim = self._centres.shape[1]
        along = rng.standard_normal((count, DIRECTIONS), np.float32) @ self._directions / DIRECTIONS**0.5
        noise = rng.standard_normal((count, dim), np.float32) / dim**0.5
        rows = self._centres[rng.integers(0, CLUSTERS, count)] + 0.8 * along + 0.3 * noise
        half = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
        return half.astype(np.float32)


def size_of(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


if __name__ == "__main__":
    main()
