"""How many of the nearest chunks the graph finds: its answers beside an exact scan of what is stored."""

from collections.abc import Callable

import numpy as np

from indexer.collection import LOCK_TIMEOUT_S, Collection
from indexer.encoder import Vectors
from indexer.store.truth import Truth

RECALL_K = 10
LEAST_RECALL = 0.95  # below it a collection is worth building anew
_TIE = 1e-5  # half precision in the graph and in the scan differ in the sixth digit


def recall_at_k(
    collection: Collection,
    queries: Vectors,
    k: int = RECALL_K,
    *,
    on_wait: Callable[[str], None] | None = None,
    timeout_s: float = LOCK_TIMEOUT_S,
) -> list[float]:
    """Return for each query (n, dim) the share of its `k` nearest chunks that dense search finds.

    A chunk as near as the k-th counts as found in its place. Holds the write lock, so that nothing moves meanwhile.

    Raises:
        IndexError_: the lock was not free within `timeout_s`, or the queries are of another encoder's size.
    """
    with collection.lock.held("verify", timeout_s, on_wait):
        generation = collection.generation
        found = [generation.dense.search(query, k) for query in queries]
        nearest = _nearest(generation.truth, queries, k)  # (n, k), -inf where there are fewer chunks
    shares = []
    for hits, scores in zip(found, nearest, strict=True):
        wanted = int(np.isfinite(scores).sum())
        near = sum(score >= scores[wanted - 1] - _TIE for _, score in hits) if wanted else 0
        shares.append(min(near, wanted) / wanted if wanted else 1.0)
    return shares


def drawn_vectors(truth: Truth, count: int, seed: int = 0) -> Vectors:
    """Vectors (count or fewer, dim) of chunks drawn at random, as queries where nobody has asked yet."""
    manifest = truth.manifest()
    if manifest is None:
        return np.empty((0, 0), np.float32)
    chosen = np.random.default_rng(seed).permutation(truth.count())[:count]
    parts, begin = [np.empty((0, manifest.dim), np.float32)], 0
    for _, _, vectors in truth.vector_pages(manifest.dim):
        here = chosen[(chosen >= begin) & (chosen < begin + len(vectors))] - begin
        parts.append(vectors[here])
        begin += len(vectors)
    return np.concatenate(parts)


def _nearest(truth: Truth, queries: Vectors, k: int) -> Vectors:
    best = np.full((len(queries), k), -np.inf, np.float32)
    for _, _, vectors in truth.vector_pages(queries.shape[1]):
        scores = np.concatenate([best, queries @ vectors.T], axis=1)
        best = -np.sort(-np.partition(scores, -k, axis=1)[:, -k:], axis=1)
    return best
