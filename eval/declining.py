"""How well questions without an answer are told apart, and fitting when to decline."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from eval.statistics import Floats, PairedTest, logistic_regression, proportion_interval

LEAST = 20  # questions of each kind: fewer cannot tell weights apart
MOST_DECLINED = 0.15  # of the questions that have an answer: what declining may cost
_SHRINKAGE = 0.5
_RESAMPLES = 2000

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Declining:
    """Precision, recall and F1 of declining, with 95% intervals. None: nothing was declined."""

    precision: float | None
    recall: float
    f1: float
    declined_answerable: float  # share of the questions with an answer that were declined
    precision_ci95: Interval | None
    recall_ci95: Interval
    f1_ci95: Interval
    n: int


def measure_declining(missing: Sequence[bool], declined: Sequence[bool], seed: int = 0) -> Declining:
    """Compare what was declined with what has no answer; at least one question of each kind.

    Intervals of shares are Wilson's; that of F1 is the percentile bootstrap over questions, which for counts is a draw
    from a multinomial distribution.
    """
    right = sum(a and b for a, b in zip(declined, missing, strict=True))
    wrong, missed = sum(declined) - right, sum(missing) - right
    told, n = sum(declined), len(missing)
    counts = np.array([right, wrong, missed, n - right - wrong - missed], dtype=np.float64)
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, _RESAMPLES)  # (R, 4)
    f1s = 2 * drawn[:, 0] / np.maximum(1, 2 * drawn[:, 0] + drawn[:, 1] + drawn[:, 2])
    low, high = np.quantile(f1s, [0.025, 0.975])
    return Declining(
        precision=right / told if told else None,
        recall=right / sum(missing),
        f1=2 * right / (told + sum(missing)),
        declined_answerable=wrong / (n - sum(missing)),
        precision_ci95=_rounded(proportion_interval(right, told)) if told else None,
        recall_ci95=_rounded(proportion_interval(right, sum(missing))),
        f1_ci95=_rounded((float(low), float(high))),
        n=n,
    )


def gain_as_json(
    helps: bool, weights: Mapping[str, float], test: PairedTest, present: Declining, held_out: Declining
) -> dict[str, Any]:
    """What learning gained; "settings" are the weights to set, empty where nothing is worth changing."""
    return {
        "helps": helps,
        "settings": dict(weights) if helps else {},
        "f1": {"present": round(test.mean_a, 6), "held_out": round(test.mean_b, 6)},
        "gain": round(test.difference, 6),
        "ci95": [round(end, 4) for end in test.ci95],
        "p": test.p,
        "n": test.n,
        "declining": {"present": asdict(present), "held_out": asdict(held_out)},
    }


def fit_doubt(signs: Floats, missing: Floats) -> tuple[float, list[float]]:
    """Bias and weights (D,) of a logistic regression of "there is no answer", labels (N,), on signs (N, D)."""
    mean, scale = signs.mean(axis=0), signs.std(axis=0) + 1e-9
    weights = logistic_regression(np.column_stack([missing * 0 + 1, (signs - mean) / scale]), missing, _SHRINKAGE)
    return float(weights[0] - weights[1:] / scale @ mean), (weights[1:] / scale).tolist()


def choose_threshold(doubts: Floats, missing: Floats) -> float:
    """The threshold with the best F1 of declining among those that decline at most 15% of what has an answer.

    Declined is what is above it; a doubt of infinity is what is declined anyway. 1 when no threshold is good enough.
    """
    best, chosen = -1.0, 1.0
    for threshold in np.unique(doubts[np.isfinite(doubts)]):
        declined = doubts > threshold
        if declined[missing == 0].mean() > MOST_DECLINED:
            continue
        right = float((declined * missing).sum())
        f1 = 2 * right / (declined.sum() + missing.sum())
        if f1 > best:
            best, chosen = f1, float(threshold)
    return chosen


def risk_coverage(pairs: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """(coverage, risk) when only the surest cases are answered (El-Yaniv and Wiener 2010), from (confidence, score).

    Coverage is the share of the cases, risk 1 minus the mean score of those; equal confidences enter together.
    """
    ordered = sorted(pairs, key=lambda pair: -pair[0])
    points, total = [], 0.0
    for place, (sure, score) in enumerate(ordered, start=1):
        total += score
        if place == len(ordered) or ordered[place][0] != sure:
            points.append((place / len(ordered), 1 - total / place))
    return points


def area_under(points: Sequence[tuple[float, float]]) -> float:
    """Area under a risk-coverage curve: the mean risk over all coverages, lower is better (Geifman and others 2019)."""
    before = [0.0, *(coverage for coverage, _ in points)]
    return sum(risk * (coverage - last) for (coverage, risk), last in zip(points, before, strict=False))


def risk_at(points: Sequence[tuple[float, float]], coverage: float) -> float:
    """Risk of the smallest coverage on the curve that is no less than this one."""
    return next(risk for reached, risk in points if reached >= coverage - 1e-9)


def _rounded(interval: Interval) -> Interval:
    return round(interval[0], 4), round(interval[1], 4)
