"""Two rankings into one. Pure numbers: a ranking is `(key, score)` pairs, best first.

A key that a ranking does not hold scores 0 there. Equal fused scores are ordered by key, so that the same
rankings always give the same order.
"""

from collections.abc import Iterable, Sequence

Ranking = Sequence[tuple[int, float]]


def min_max(ranking: Ranking, floor: float | None = None) -> dict[int, float]:
    """Scale scores to 0..1 by the best and the worst score of the ranking.

    With `floor`, the lowest score the retriever could give takes the place of the worst it gave (0 for BM25, -1
    for a cosine): the theoretical min-max of Bruch et al. 2023, section 4.2. Where best and worst are the same,
    every key gets 1: it was found, and that is worth more than not being found.
    """
    if not ranking:
        return {}
    high = max(score for _, score in ranking)
    low = min(score for _, score in ranking) if floor is None else floor
    width = high - low
    if width <= 0:
        return {key: 1.0 for key, _ in ranking}
    return {key: (score - low) / width for key, score in ranking}


def convex(lexical: Ranking, dense: Ranking, dense_weight: float) -> list[tuple[int, float]]:
    """`dense_weight * dense + (1 - dense_weight) * lexical` of the min-max scores, best first.

    Bruch, Gai, Ingber: An Analysis of Fusion Functions for Hybrid Retrieval, ACM TOIS 2023 (convex combination).

    Raises:
        ValueError: the weight is outside 0..1.
    """
    if not 0 <= dense_weight <= 1:
        raise ValueError(f"dense_weight is {dense_weight}, it must be from 0 to 1")
    words, meaning = min_max(lexical), min_max(dense)
    fused = {
        key: dense_weight * meaning.get(key, 0.0) + (1 - dense_weight) * words.get(key, 0.0)
        for key in words.keys() | meaning.keys()
    }
    return best_first(fused.items())


def rrf(rankings: Sequence[Ranking], k: float = 60, weights: Sequence[float] | None = None) -> list[tuple[int, float]]:
    """Sum of `weight / (k + rank)` over the rankings that hold the key, best first. Ranks count from 1.

    Cormack, Clarke, Büttcher: Reciprocal Rank Fusion Outperforms Condorcet and Individual Rank Learning Methods,
    SIGIR 2009 (k = 60).

    Raises:
        ValueError: there are not as many weights as rankings, or k is negative.
    """
    if k < 0:
        raise ValueError(f"k is {k}, it must not be negative")
    fused: dict[int, float] = {}
    for ranking, weight in zip(rankings, weights or [1.0] * len(rankings), strict=True):
        for rank, (key, _) in enumerate(ranking, start=1):
            fused[key] = fused.get(key, 0.0) + weight / (k + rank)
    return best_first(fused.items())


def best_first(scored: Iterable[tuple[int, float]]) -> list[tuple[int, float]]:
    """Highest score first, the lower key first among equals."""
    return sorted(scored, key=lambda pair: (-pair[1], pair[0]))
