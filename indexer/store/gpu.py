"""The base's graph built on a GPU: CAGRA (Ootomo et al. 2024, arXiv:2308.15136), made an HNSW graph that grows on any
processor. FAISS has no HNSW kernel for GPUs.

What comes out is the same kind of index that the processor builds, half precision and all: whoever opens the file
cannot tell, and needs no GPU. Needs faiss-gpu-cuvs in place of faiss-cpu (requirements-gpu.txt).
"""

import importlib
import logging
import time
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from indexer.encoder import Vectors

DenseBuild = Literal["auto", "cpu", "gpu"]
LEAST_ROWS = 20_000  # fewer are built by the processor while a GPU would be made ready

_log = logging.getLogger(__name__)


def why_no_gpu() -> str:
    """Say why no graph can be built on a GPU here; empty when one can."""
    faiss: Any = importlib.import_module("faiss")

    if not hasattr(faiss, "GpuIndexCagra"):
        return "faiss has no GPU build; requirements-gpu.txt says how to get it"
    return "" if faiss.get_num_gpus() > 0 else "no GPU is there"


def builds_on_gpu(how: DenseBuild, rows: int) -> bool:
    """Whether a graph of so many rows is to be built on a GPU; one that is asked for and missing is told."""
    if how == "cpu" or (how == "auto" and rows < LEAST_ROWS):
        return False
    reason = why_no_gpu()
    if reason and how == "gpu":
        _log.warning("the processor builds the graph: %s", reason)
    return not reason


def graph_on_gpu(vectors: Vectors, neighbours: int, ef_construction: int) -> Any | None:
    """Build an HNSW index over these rows (n, dim), half precision; None, with a line of log, where the GPU cannot."""
    faiss: Any = importlib.import_module("faiss")

    began = time.monotonic()
    try:
        config = faiss.GpuIndexCagraConfig()
        config.graph_degree = 2 * neighbours  # of the lowest level, where HNSW has twice as many, too
        config.intermediate_graph_degree = 4 * neighbours
        dim = vectors.shape[1]
        gpu = faiss.GpuIndexCagra(faiss.StandardGpuResources(), dim, faiss.METRIC_INNER_PRODUCT, config)
        gpu.train(vectors)  # which builds; an add() after it would be ignored without a word
        cagra = faiss.IndexHNSWCagra(dim, neighbours, faiss.METRIC_INNER_PRODUCT)
        cagra.base_level_only = False  # without the upper levels nothing could be added
        cagra.hnsw.efConstruction = ef_construction
        gpu.copyTo(cagra)
        index = in_half_precision(cagra, [vectors], neighbours, ef_construction)
    except (RuntimeError, AttributeError, TypeError, MemoryError) as error:
        _log.warning("the GPU cannot build the graph, the processor does: %s", str(error).splitlines()[0][:200])
        return None
    _log.info("dense index: %d rows built on the GPU in %.1f s", len(vectors), time.monotonic() - began)
    return index


def in_half_precision(cagra: Any, parts: Iterable[Vectors], neighbours: int, ef_construction: int) -> Any:
    """The same graph over the same rows, given again in order, in the kind of index that Footnote keeps.

    Raises:
        RuntimeError: it has no upper levels, or other rows than are given.
    """
    faiss: Any = importlib.import_module("faiss")

    if cagra.base_level_only:
        raise RuntimeError("a graph without upper levels cannot be added to")
    index = faiss.IndexHNSWSQ(cagra.d, faiss.ScalarQuantizer.QT_fp16, neighbours, faiss.METRIC_INNER_PRODUCT)
    index.train(np.zeros((1, cagra.d), np.float32))
    for rows in parts:
        index.storage.add(rows)
    if index.storage.ntotal != cagra.ntotal:
        raise RuntimeError(f"the graph has {cagra.ntotal} rows, {index.storage.ntotal} are given")
    index.hnsw = cagra.hnsw  # a copy
    index.hnsw.efConstruction = ef_construction
    index.ntotal = cagra.ntotal
    return index
