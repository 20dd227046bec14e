"""What dense search finds within filters, and where a scan of what they leave is cheaper than the graph.

    python -m bench.filters --folder FOLDER [--encoder minilm|shipped] [--passages 10000]
    python -m bench.filters --made FOLDER/100000       # a collection that bench.search has made

Documents of twenty chunks are drawn until a share of all is left. Each share is searched for ten and for a hundred in
three ways: as served, by the graph alone, by a scan alone. Recall is beside an exact scan of the truth, with a 95%
interval over questions; times are processor time of one thread. Passages and questions are those of bench/hnsw.py. The
last line is JSON.
"""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np

import indexer.store.view as view
from bench.hnsw import DEPTH, TOP, drawn_vectors, mean_of, parser_of
from bench.search_made import NAME, question_vectors
from indexer.collection import Collection
from indexer.document import Chunk, Document
from indexer.encoder import Vectors
from indexer.store.keys import KeyRanges, inside, merge_ranges
from indexer.store.records import Manifest

SHARES = (1.0, 0.5, 0.1, 0.03, 0.01, 0.001)
WAYS = {"served": view._EXACT_SHARE, "graph": 0, "scan": math.inf}
TOGETHER, SEED = 20, 3


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--made", type=Path, help="a collection of bench.search in place of the real vectors")
    parser.add_argument("--ways", default=",".join(WAYS), help="with commas between them; the graph alone takes long")
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    if options.made:
        collection, asked = Collection.open(options.made, NAME), question_vectors(options.questions)
    else:
        vectors, asked = drawn_vectors(options)
        collection = stored(options.folder / options.encoder / f"filters-{len(vectors)}", vectors)
    told = {"bench": "filters", "chunks": collection.count(), "n": len(asked), "lines": []}
    for line in lines(collection, asked, options.ways.split(",")):
        told["lines"].append(line)
        print(json.dumps(line), flush=True)
    print(json.dumps(told))


def stored(folder: Path, vectors: Vectors) -> Collection:
    """A collection of these vectors, made once."""
    collection = Collection.open(folder, NAME, create=True)
    if collection.count() == len(vectors):
        return collection
    with collection.writer(command="bench") as writer:
        writer.begin(Manifest("real", vectors.shape[1], "none", "none", ""))
        with writer.together():
            for at in range(0, len(vectors), TOGETHER):
                part, name = vectors[at : at + TOGETHER], f"{at:09}"
                texts = [f"passage{at + offset:09}" for offset in range(len(part))]
                chunks = [Chunk(f"{name}:{n}", name, text, 17 * n, 17 * n + 16) for n, text in enumerate(texts)]
                writer.add(Document(name, f"/{name}", "", "text/plain", name, " ".join(texts)), chunks, part)
    return collection


def lines(collection: Collection, asked: Vectors, ways: list[str]) -> Iterator[dict[str, Any]]:
    """Every share, number wanted and way."""
    keys, vectors = collection.vectors()
    scores = asked @ vectors.T  # (q, n)
    for share in SHARES:
        within = drawn(keys, share)
        allowed = np.ones(len(keys), bool) if within is None else inside(keys, within)
        for k in (TOP, DEPTH):
            wanted = min(k, int(allowed.sum()))
            edges = -np.partition(-np.where(allowed, scores, -2), wanted - 1, axis=1)[:, wanted - 1]
            for way in ways if within else ways[:1]:
                view._EXACT_SHARE = WAYS[way]
                shares, cpu_ms = searched(collection, asked, k, within, edges, wanted)
                recall, interval = mean_of(shares)
                left = {"share": share, "rows": int(allowed.sum()), "k": k, "way": way}
                yield {**left, "recall": recall, "ci95": interval, "cpu_ms": cpu_ms}


def drawn(keys: Any, share: float) -> KeyRanges | None:
    """The keys of documents drawn until this share is left."""
    if share == 1:
        return None
    documents = -(-len(keys) // TOGETHER)
    chosen = np.sort(np.random.default_rng(SEED).permutation(documents)[: max(1, round(share * documents))])
    parts = [keys[TOGETHER * at : TOGETHER * (at + 1)] for at in chosen]
    return tuple(merge_ranges((int(part[0]), int(part[-1])) for part in parts))


def searched(
    collection: Collection, asked: Vectors, k: int, within: KeyRanges | None, edges: Any, wanted: int
) -> tuple[list[float], float]:
    """Recall of each question, and processor time of one in milliseconds."""
    collection.dense.search(asked[0], k, within)
    began = time.process_time()
    found = [collection.dense.search(query, k, within) for query in asked]
    cpu_ms = 1000 * (time.process_time() - began) / len(asked)
    near = [sum(score >= edge - 1e-5 for _, score in hits) for hits, edge in zip(found, edges, strict=True)]
    return [min(count, wanted) / wanted for count in near], round(cpu_ms, 3)


if __name__ == "__main__":
    main()
