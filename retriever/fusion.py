"""Two rankings into one. Pure numbers: a ranking is `(key, score)` pairs, best first.

A key that a ranking does not hold scores 0 there. Equal fused scores are ordered by key, so that the same
rankings always give the same order.
"""

from collections.abc import Iterable, Sequence
from operator import itemgetter
from statistics import pstdev
from typing import Literal, get_args

Normalisation = Literal["mixed", "min-max", "theoretical", "z-score"]
NORMALISATIONS: tuple[Normalisation, ...] = get_args(Normalisation)
BM25_FLOOR, COSINE_FLOOR = 0.0, -1.0  # the lowest scores that there can be

Ranking = Sequence[tuple[int, float]]


def min_max(ranking: Ranking, floor: float | None = None) -> dict[int, float]:
    """Scale scores to 0..1 by the best and the worst score of the ranking.

    With `floor`, the lowest score the retriever could give takes the place of the worst it gave (0 for BM25, -1
    for a cosine): the theoretical min-max of Bruch et al. 2023, section 4.2. Where best and worst are the same,
    every key gets 1: it was found, and that is worth more than not being found.
    """
    if not ranking:
        return {}
    high = ranking[0][1]
    low = ranking[-1][1] if floor is None else floor
    width = high - low
    if width <= 0:
        return {key: 1.0 for key, _ in ranking}
    return {key: (score - low) / width for key, score in ranking}


def z_score(ranking: Ranking) -> dict[int, float]:
    """Scale scores to standard deviations above the worst of the ranking; 1 where all are the same.

    Subtracting the worst in place of the mean changes no order, and lets 0 stand for what was not found.
    """
    if not ranking:
        return {}
    low, spread = ranking[-1][1], pstdev(score for _, score in ranking)
    return {key: (score - low) / spread if spread > 0 else 1.0 for key, score in ranking}


def normalised(lexical: Ranking, dense: Ranking, how: Normalisation) -> tuple[dict[int, float], dict[int, float]]:
    """Scores of BM25 and of cosines that can be added.

    min-max counts both from the worst that was found, theoretical both from the worst there can be. Mixed counts BM25
    from 0 and cosines from the worst found: a BM25 score is a sum of what matched, so half of it is half a match, while
    the cosines of one encoder all lie in a narrow band.
    """
    if how == "z-score":
        return z_score(lexical), z_score(dense)
    return (
        min_max(lexical, None if how == "min-max" else BM25_FLOOR),
        min_max(dense, COSINE_FLOOR if how == "theoretical" else None),
    )


def convex(
    lexical: Ranking, dense: Ranking, dense_weight: float, normalisation: Normalisation = "mixed"
) -> list[tuple[int, float]]:
    """`dense_weight * dense + (1 - dense_weight) * lexical` of the normalised scores, best first.

    Bruch, Gai, Ingber: An Analysis of Fusion Functions for Hybrid Retrieval, ACM TOIS 2023 (convex combination).

    Raises:
        ValueError: the weight is outside 0..1.
    """
    if not 0 <= dense_weight <= 1:
        raise ValueError(f"dense_weight is {dense_weight}, it must be from 0 to 1")
    words, meaning = normalised(lexical, dense, normalisation)
    fused = {key: (1 - dense_weight) * score for key, score in words.items()}
    for key, score in meaning.items():
        fused[key] = fused.get(key, 0.0) + dense_weight * score
    return best_first(fused.items())


def blend(first: Ranking, reranked: Ranking, weight: float) -> list[tuple[int, float]]:
    """`weight * reranked + (1 - weight) * first` of min-max scores, best first. Both rank the same keys.

    Late fusion of a reranker with what it read from, as Akkalyoncu Yilmaz et al. 2019 (Birch) weigh BERT and BM25.

    Raises:
        ValueError: the weight is outside 0..1, or the keys differ.
    """
    if {key for key, _ in first} != {key for key, _ in reranked}:
        raise ValueError("a ranking holds keys that the other does not")
    return convex(first, reranked, weight, "min-max")


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


def rrf_weights(dense_weight: float) -> tuple[float, float]:
    """Weights of BM25 and dense for rrf(), of which a dense weight of .5 is the plain one."""
    return 2 * (1 - dense_weight), 2 * dense_weight


def best_first(scored: Iterable[tuple[int, float]]) -> list[tuple[int, float]]:
    """Highest score first, the lower key first among equals."""
    by_key = sorted(scored, key=itemgetter(0))
    return sorted(by_key, key=itemgetter(1), reverse=True)  # which keeps the order of equals
