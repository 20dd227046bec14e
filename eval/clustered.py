"""Do two arms of an experiment differ, where conversations and not answers were drawn into them?

Answers of one conversation are alike: the same reader, the same topic, the same mood. A test that takes them for
independent, such as Fisher's exact or the two-proportion test over all answers, calls far too many equal arms different
(Deng, Knoblich and Lu 2018, "Applying the Delta Method in Metric Analytics"). So everything here is by
conversation: p is of a randomisation test that exchanges whole conversations between the arms, as the experiment could
have drawn them, and which is Fisher's exact test where each conversation has one value of 0 or 1; the interval and the
difference that could be found come of the delta method for a ratio of sums over conversations.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from eval.statistics import RESAMPLES, Floats

LEAST_CLUSTERS = 10  # in each arm; with fewer neither the interval nor the smallest p would mean much
_AT_ONCE = 2_000_000  # labels that a step may hold


@dataclass(frozen=True, slots=True)
class ClusteredTest:
    """What a measure's values say about two arms, the second minus the first. None where there is too little to say."""

    n_a: int  # values
    n_b: int
    clusters_a: int
    clusters_b: int
    mean_a: float | None
    mean_b: float | None
    difference: float | None
    ci95: tuple[float, float] | None
    p: float | None
    test: Literal["fisher", "randomisation"] | None
    detectable: float | None  # the smallest true difference that so much finds with 80% power


def compare_clustered(
    a: Iterable[tuple[str, float]], b: Iterable[tuple[str, float]], resamples: int = RESAMPLES, seed: int = 0
) -> ClusteredTest:
    """Test the means of two arms whose values come as (cluster, value)."""
    first, second = _sums(a), _sums(b)
    mean_a, mean_b = _ratio(first), _ratio(second)
    enough = min(len(first), len(second)) >= LEAST_CLUSTERS
    ci95: tuple[float, float] | None = None
    detectable = p = None
    test: Literal["fisher", "randomisation"] | None = None
    if enough and mean_a is not None and mean_b is not None:
        error = math.sqrt(_variance(first) + _variance(second))
        ci95, detectable = _interval(mean_b - mean_a, error, len(first) + len(second) - 2)
        test = "fisher" if _is_single(first) and _is_single(second) else "randomisation"
        p = _fisher(first, second) if test == "fisher" else cluster_randomisation_test(first, second, resamples, seed)
    return ClusteredTest(
        n_a=int(first[:, 1].sum()),
        n_b=int(second[:, 1].sum()),
        clusters_a=len(first),
        clusters_b=len(second),
        mean_a=mean_a,
        mean_b=mean_b,
        difference=None if mean_a is None or mean_b is None else mean_b - mean_a,
        ci95=ci95,
        p=p,
        test=test,
        detectable=detectable,
    )


def cluster_randomisation_test(a: Floats, b: Floats, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """Two-sided p of a difference of means when clusters are exchanged between the arms at random (Fisher 1935).

    `a` and `b` (K, 2) hold the sum and the number of each cluster's values. The arms keep their numbers of clusters.
    The drawing that was made counts as one of them, so p is never 0 (Phipson and Smyth 2010).
    """
    rows = np.concatenate([a, b])
    labels = np.arange(len(rows)) >= len(a)
    observed = abs(a[:, 0].sum() / a[:, 1].sum() - b[:, 0].sum() / b[:, 1].sum())
    random, totals = np.random.default_rng(seed), rows.sum(axis=0)
    as_extreme = 0
    step = max(1, _AT_ONCE // len(rows))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = random.permuted(np.tile(labels, (size, 1)), axis=1)  # (size, K)
        second = drawn @ rows  # (size, 2)
        first = totals - second
        differences = second[:, 0] / second[:, 1] - first[:, 0] / first[:, 1]
        as_extreme += int((np.abs(differences) >= observed - 1e-9).sum())
    return (as_extreme + 1) / (resamples + 1)


def _sums(values: Iterable[tuple[str, float]]) -> Floats:
    """Sum and number of the values of each cluster (K, 2)."""
    sums: dict[str, list[float]] = {}
    for cluster, value in values:
        row = sums.setdefault(cluster, [0.0, 0.0])
        row[0] += value
        row[1] += 1
    return np.array(list(sums.values()), dtype=np.float64).reshape(-1, 2)


def _ratio(rows: Floats) -> float | None:
    return float(rows[:, 0].sum() / rows[:, 1].sum()) if len(rows) else None


def _variance(rows: Floats) -> float:
    """Of the ratio of sums over K clusters, by the delta method, with K / (K - 1) for few clusters."""
    count, (total, number) = len(rows), rows.sum(axis=0)
    residuals = rows[:, 0] - total / number * rows[:, 1]
    return float(count / (count - 1) * (residuals**2).sum() / number**2)


def _interval(difference: float, error: float, freedom: int) -> tuple[tuple[float, float] | None, float | None]:
    """95% interval and detectable difference; none where all values of an arm are equal, which is no certainty."""
    from scipy.stats import norm, t

    if not error:
        return None, None
    half = float(t.isf(0.025, freedom)) * error
    return (difference - half, difference + half), float(norm.isf(0.025) + norm.isf(0.2)) * error


def _is_single(rows: Floats) -> bool:
    """Whether each cluster has one value, of 0 or 1."""
    return bool((rows[:, 1] == 1).all() and np.isin(rows[:, 0], (0.0, 1.0)).all())


def _fisher(a: Floats, b: Floats) -> float:
    from scipy.stats import fisher_exact

    table = [[int(rows[:, 0].sum()), int((1 - rows[:, 0]).sum())] for rows in (a, b)]
    return float(fisher_exact(table).pvalue)
