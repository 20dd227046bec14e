"""What a graph finds beside many equal vectors: as they are, one row for all of them, and each moved a little.

    python -m bench.equal_vectors --folder FOLDER [--encoder minilm|shipped] [--passages 1000] [--equal 2000,20000]

Real vectors (bench/real_vectors.py), of which one is there again and again: before the others, among them or behind
them. Each of the others is asked for by its own vector, for one hit at efSearch 128; "found" is their share, with
Wilson's interval. "one row" is what the local index does, "apart" what is sent to Milvus (indexer/milvus/writer.py).
The graph is the local index's, half precision and all. The last line is JSON.
"""

import json
from typing import Any

import faiss
import numpy as np

from bench.hnsw import STORAGE, built, drawn_vectors, empty, parser_of
from eval.statistics import proportion_interval
from indexer.encoder import Vectors
from indexer.milvus.writer import apart
from indexer.store.rows import CROWD, Rows

LINKS, EF_CONSTRUCTION, EF_SEARCH, SEED = 32, 100, 128, 0
ORDERS = ("first", "mixed", "last")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--equal", default="2000,20000", help="how many, with a comma between them")
    parser.set_defaults(passages=1000)
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    vectors, _ = drawn_vectors(options)
    twin, others = vectors[:1], vectors[1:]
    told: dict[str, Any] = {"bench": "equal vectors", "lines": []}
    for equal in map(int, options.equal.split(",")):
        copies = np.repeat(twin, equal, axis=0)
        moved = apart(Rows(np.arange(equal), (), copies, np.arange(equal) >= CROWD))
        for few in (others[: len(others) // 10], others):
            for way, rows in (("as they are", copies), ("one row", twin), ("apart", moved)):
                for order in ORDERS if way != "one row" else ORDERS[:1]:
                    line = {"equal": equal, "others": len(few), "way": way, "order": order, **found(rows, few, order)}
                    told["lines"].append(line)
                    print(json.dumps(line), flush=True)
    print(json.dumps(told))


def found(equal: Vectors, others: Vectors, order: str) -> dict[str, Any]:
    """The share of the others that their own vector finds."""
    rows = np.concatenate([others, equal])
    places = np.random.default_rng(SEED).permutation(len(rows)) if order == "mixed" else np.arange(len(rows))
    if order == "first":
        places = np.roll(places, -len(others))
    graph = built("fp16", empty(rows, STORAGE["fp16"], LINKS), EF_CONSTRUCTION, rows[places])
    _, first = graph.index.search(others, 1, params=faiss.SearchParametersHNSW(efSearch=EF_SEARCH))
    hits = int((places[first[:, 0]] == np.arange(len(others))).sum())
    low, high = proportion_interval(hits, len(others))
    return {"found": round(hits / len(others), 4), "ci95": [round(low, 3), round(high, 3)]}


if __name__ == "__main__":
    main()
