"""Which parameters of the graph pay: links, efConstruction, efSearch and the codes of real vectors.

    python -m bench.hnsw --folder FOLDER [--encoder minilm|shipped] [--passages 10000] [--parts grid,codes]

Passages and questions are those of the shared sets (bench/real_vectors.py), encoded once and kept under --folder. A
hundred passages are asked for, as hybrid search does. "grid" builds a graph for each number of links M, efConstruction
and storage, and searches it at efSearch 1, 2, 3 and 4 times the hundred: recall@10 and @100 beside an exact scan of
the vectors as the truth keeps them, with a 95% interval over questions, and processor time a question. SQ8 fetches
efSearch candidates and scores them again in half precision; that time is counted. "codes" puts other codes under the
links of one graph: what storage alone costs. One thread; times are processor time. The last line is JSON.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from bench.real_vectors import ENCODERS, SETS, real_vectors
from eval.statistics import bootstrap_interval
from indexer.encoder import Vectors

DEPTH, TOP = 100, 10
LINKS, EF_CONSTRUCTION, MULTIPLES = (16, 24, 32), (100, 200), (1, 2, 3, 4)
_CODES = faiss.ScalarQuantizer
STORAGE = {"fp16": _CODES.QT_fp16, "sq8": _CODES.QT_8bit}
OTHER = {"fp32": None, "fp16": _CODES.QT_fp16, "bf16": _CODES.QT_bf16, "sq8": _CODES.QT_8bit}
_TIE = 1e-6

Search = Callable[[Vectors, int], Any]  # a question (1, dim) and efSearch; gives the rows found, best first


@dataclass(frozen=True, slots=True)
class Line:
    """One graph at one efSearch."""

    storage: str
    links: int
    ef_construction: int
    build_cpu_s: float
    bytes_a_vector: float
    ef_search: int
    recall_at_10: float
    ci95_at_10: tuple[float, float]
    recall_at_100: float
    ci95_at_100: tuple[float, float]
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class Graph:
    """One index, and how it was made."""

    storage: str
    links: int
    ef_construction: int
    build_cpu_s: float
    index: Any


class Exact:
    """The nearest of each question, by a scan of what the truth keeps."""

    def __init__(self, vectors: Vectors, asked: Vectors) -> None:
        self._scores = asked @ vectors.T  # (q, n)
        nearest = -np.partition(-self._scores, (TOP - 1, DEPTH - 1), axis=1)
        self._edges = {TOP: nearest[:, TOP - 1], DEPTH: nearest[:, DEPTH - 1]}

    def recalls(self, found: Sequence[Any], k: int) -> list[float]:
        """Share of the k nearest among the first k rows found; one as near as the k-th counts in its place."""
        scores = [self._scores[at, rows[:k]] for at, rows in enumerate(found)]
        return [float(np.mean(score >= edge - _TIE)) for score, edge in zip(scores, self._edges[k], strict=True)]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--parts", default="grid,codes", help="with a comma between them")
    options = parser.parse_args()
    parts = options.parts.split(",")
    faiss.omp_set_num_threads(1)
    vectors, asked = drawn_vectors(options)
    exact = Exact(vectors, asked)
    told: dict[str, Any] = {"bench": "hnsw", "encoder": options.encoder, "vectors": vectors.shape, "n": len(asked)}
    for name, lines in (("grid", grid), ("codes", codes)):
        if name in parts:
            told[name] = []
            for line in lines(vectors, asked, exact):
                told[name].append(asdict(line))
                print(as_row(line), flush=True)
    print(json.dumps(told))


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """The options that the benches on real vectors share."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "footnote-vectors")
    parser.add_argument("--bench", type=Path, default=os.environ.get("FOOTNOTE_BENCH", "../shared/bench"))
    parser.add_argument("--encoder", choices=sorted(ENCODERS), default="minilm")
    parser.add_argument("--passages", type=int, default=0, help="how many are drawn; all if not given")
    parser.add_argument("--questions", type=int, default=300)
    return parser


def drawn_vectors(options: argparse.Namespace) -> tuple[Vectors, Vectors]:
    """Vectors of passages and questions, encoded unless they are there."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    if missing := [name for name in SETS if not (options.bench / name).is_dir()]:
        sys.exit(f"{options.bench} does not hold {', '.join(missing)}: name the shared sets' folder with --bench.")
    return real_vectors(options.folder, options.bench, options.encoder, options.passages, options.questions)


def grid(vectors: Vectors, asked: Vectors, exact: Exact) -> Iterator[Line]:
    """Every graph at every efSearch."""
    for storage, kind in STORAGE.items():
        for links in LINKS:
            for ef_construction in EF_CONSTRUCTION:
                graph = built(storage, empty(vectors, kind, links), ef_construction, vectors)
                yield from searched(graph, vectors, asked, exact)


def codes(vectors: Vectors, asked: Vectors, exact: Exact) -> Iterator[Line]:
    """Other codes under the links of one graph, which was built in half precision."""
    links = LINKS[-1]
    graph = built("fp16", empty(vectors, STORAGE["fp16"], links), EF_CONSTRUCTION[0], vectors)
    for storage, kind in OTHER.items():
        index = empty(vectors, kind, links)
        index.storage.add(vectors)
        index.hnsw, index.ntotal = graph.index.hnsw, graph.index.ntotal
        yield from searched(replace(graph, storage=storage, index=index), vectors, asked, exact)


def empty(vectors: Vectors, kind: int | None, links: int) -> Any:
    """An index with nothing in it; its codes are learnt from the vectors, where they have something to learn."""
    if kind is None:
        return faiss.IndexHNSWFlat(vectors.shape[1], links, faiss.METRIC_INNER_PRODUCT)
    index = faiss.IndexHNSWSQ(vectors.shape[1], kind, links, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    return index


def built(storage: str, index: Any, ef_construction: int, vectors: Vectors) -> Graph:
    """Add all vectors."""
    index.hnsw.efConstruction = ef_construction
    began = time.process_time()
    index.add(vectors)
    return Graph(storage, index.hnsw.nb_neighbors(1), ef_construction, time.process_time() - began, index)


def searched(graph: Graph, vectors: Vectors, asked: Vectors, exact: Exact) -> Iterator[Line]:
    """One graph at every efSearch."""
    size = len(faiss.serialize_index(graph.index)) / len(vectors)
    rescored = graph.storage == "sq8"
    search = scored_again(graph.index, vectors.astype(np.float16)) if rescored else plain(graph.index)
    for multiple in MULTIPLES:
        ef = multiple * DEPTH
        for at in range(20):
            search(asked[at : at + 1], ef)
        began = time.process_time()
        found = [search(asked[at : at + 1], ef) for at in range(len(asked))]
        cpu_ms = 1000 * (time.process_time() - began) / len(asked)
        top, deep = (mean_of(exact.recalls(found, k)) for k in (TOP, DEPTH))
        made = graph.storage, graph.links, graph.ef_construction, round(graph.build_cpu_s, 2), round(size, 1)
        yield Line(*made, ef, *top, *deep, round(cpu_ms, 3))


def mean_of(shares: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """The mean with its interval."""
    low, high = bootstrap_interval(shares)
    return round(float(np.mean(shares)), 4), (round(low, 4), round(high, 4))


def plain(index: Any) -> Search:
    """What the graph gives."""
    return lambda query, ef: index.search(query, DEPTH, params=faiss.SearchParametersHNSW(efSearch=ef))[1][0]


def scored_again(index: Any, halves: Any) -> Search:
    """All that the search has looked at last, scored again in half precision."""

    def search(query: Vectors, ef: int) -> Any:
        _, found = index.search(query, ef, params=faiss.SearchParametersHNSW(efSearch=ef))
        rows = found[0][found[0] >= 0]
        scores = halves[rows].astype(np.float32) @ query[0]
        return rows[np.argsort(-scores)[:DEPTH]]

    return search


def as_row(line: Line) -> str:
    """One line of a table."""
    return (
        f"| {line.storage} | {line.links} | {line.ef_construction} | {line.build_cpu_s} | {line.bytes_a_vector} "
        f"| {line.ef_search} | {line.recall_at_10:.4f} [{line.ci95_at_10[0]:.4f}, {line.ci95_at_10[1]:.4f}] "
        f"| {line.recall_at_100:.4f} [{line.ci95_at_100[0]:.4f}, {line.ci95_at_100[1]:.4f}] | {line.cpu_ms} |"
    )


if __name__ == "__main__":
    main()
