"""How sure a figure is, and whether two runs differ: intervals, paired tests, effect sizes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RESAMPLES = 10_000
_AT_ONCE = 2_000_000  # numbers a step may hold: what keeps a test on a million cases within memory
_TIE = 1e-12  # differences of rounding are no differences


def bootstrap_interval(
    values: Sequence[float], confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron 1979; in retrieval Sakai 2006). Same seed, same interval.

    Raises:
        ValueError: there are no values.
    """
    if not len(values):
        raise ValueError("an interval needs at least one value")
    sample = np.asarray(values, dtype=np.float64)
    random = np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // sample.size)
    counts = [min(at_once, resamples - begun) for begun in range(0, resamples, at_once)]
    means = np.concatenate(
        [sample[random.integers(0, sample.size, (count, sample.size))].mean(axis=1) for count in counts]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def proportion_interval(hits: int, of: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a proportion (1927): unlike a resampled one it does not shrink to nothing at 0 of 8.

    Raises:
        ValueError: there are no cases.
    """
    from scipy.stats import binomtest

    found = binomtest(hits, of).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


@dataclass(frozen=True, slots=True)
class PairedTest:
    """What a metric's values on the same cases say about two runs, the second minus the first."""

    n: int
    mean_a: float
    mean_b: float
    difference: float
    ci95: tuple[float, float]
    p: float
    test: Literal["randomisation", "mcnemar"]
    effect_size: float | None  # Cohen's d of paired differences; None where every case moved by the same
    detectable: float  # the smallest true difference that so many cases find with 80% power
    wins: int  # cases where the second is better
    losses: int
    ties: int


def compare_paired(a: Sequence[float], b: Sequence[float], seed: int = 0) -> PairedTest:
    """Test two runs on the same cases: McNemar's test for values of 0 and 1, else a paired randomisation test.

    Raises:
        ValueError: there are no values, or not as many on both sides.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or not first.size:
        raise ValueError("a paired comparison needs the same cases on both sides, and at least one")
    moved = second - first
    wins, losses = int((moved > _TIE).sum()), int((moved < -_TIE).sum())
    binary = bool(np.isin(np.concatenate([first, second]), (0.0, 1.0)).all())
    return PairedTest(
        n=int(first.size),
        mean_a=float(first.mean()),
        mean_b=float(second.mean()),
        difference=float(moved.mean()),
        ci95=bootstrap_interval(moved.tolist(), seed=seed),
        p=mcnemar(wins, losses) if binary else randomisation_test(moved, seed=seed),
        test="mcnemar" if binary else "randomisation",
        effect_size=_effect_size(moved),
        detectable=detectable_difference(moved),
        wins=wins,
        losses=losses,
        ties=int(first.size) - wins - losses,
    )


def logistic_regression(rows: Floats, labels: Floats, shrinkage: float) -> Floats:
    """Weights (D,) that make labels (N,) between 0 and 1 most likely from rows (N, D), less shrinkage * |weights|^2.

    A column of ones gives a bias. A little shrinkage keeps the weights finite where the rows separate the labels.
    """
    from scipy.optimize import minimize

    def loss(weights: Floats) -> float:
        logits = rows @ weights
        likelihood = labels * -np.logaddexp(0, -logits) + (1 - labels) * -np.logaddexp(0, logits)
        return float(-likelihood.sum() + shrinkage * (weights**2).sum())

    weights: Floats = minimize(loss, np.zeros(rows.shape[1]), method="BFGS").x
    return weights


def randomisation_test(moved: Sequence[float] | Floats, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """Two-sided p of a mean difference when each pair's labels are exchanged at random (Fisher 1935; Smucker 2007).

    The identity counts as one of the exchanges, so p is never 0 (Phipson and Smyth 2010).
    """
    differences = np.asarray(moved, dtype=np.float64)
    differences = differences[np.abs(differences) > _TIE]
    if not differences.size:
        return 1.0
    observed = abs(differences.sum())
    random = np.random.default_rng(seed)
    as_extreme = left = 0
    step = max(1, _AT_ONCE // differences.size)
    for start in range(0, resamples, step):
        left = min(step, resamples - start)
        signs = random.integers(0, 2, (left, differences.size), dtype=np.int8) * 2 - 1
        as_extreme += int((np.abs(signs @ differences) >= observed - 1e-9).sum())
    return (as_extreme + 1) / (resamples + 1)


def mcnemar(wins: int, losses: int) -> float:
    """Two-sided exact p of McNemar's test (1947): are wins and losses equally likely among the cases that differ?"""
    from scipy.stats import binomtest

    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust p values for having looked at all of them (Holm 1979): the family's error stays below the level."""
    adjusted: dict[str, float] = {}
    highest = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: (item[1], item[0]))):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def detectable_difference(moved: Sequence[float] | Floats, level: float = 0.05, power: float = 0.8) -> float:
    """Smallest true mean difference that a paired test of so many cases finds with this power (normal theory)."""
    from scipy.stats import norm

    differences = np.asarray(moved, dtype=np.float64)
    if differences.size < 2:
        return math.inf
    deviation = float(differences.std(ddof=1))
    return float((norm.isf(level / 2) + norm.isf(1 - power)) * deviation / math.sqrt(differences.size))


def _effect_size(moved: Floats) -> float | None:
    deviation = float(moved.std(ddof=1)) if moved.size > 1 else 0.0
    return float(moved.mean()) / deviation if deviation > _TIE else None
