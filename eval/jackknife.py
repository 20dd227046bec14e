"""A figure that is no mean as a mean over cases, so that intervals, gates and paired tests work on it as on others.

Jackknife values (Quenouille 1956; Tukey 1958), shifted by the jackknife's estimate of bias: their mean is the figure
itself, to the last digit, and their variance is the jackknife's. n is the number of cases.
"""

import numpy as np
import numpy.typing as npt

from eval.statistics import Floats


def spearman_values(a: Floats, b: Floats) -> Floats:
    """Values (n,) whose mean is Spearman's rank correlation of `a` and `b` (n,), ties at their mean rank.

    Not finite where the correlation, with or without one of the cases, is undefined: a side is constant.
    """
    from scipy.stats import rankdata

    first, second = rankdata(a), rankdata(b)
    without = [_correlation(_ranks_without(first, at), _ranks_without(second, at)) for at in range(first.size)]
    return _values(_correlation(first, second), np.array(without))


def average_precision_values(positive: npt.NDArray[np.bool_], scores: Floats) -> Floats:
    """Values (n,) whose mean is the average precision of ranking `positive` (n,) by `scores` (n,), highest first.

    Average precision is the sum over thresholds of precision times the recall gained, as scikit-learn has it; equal
    scores are one threshold. At least two cases must be positive.
    """
    thresholds, group = np.unique(-scores, return_inverse=True)
    size = np.bincount(group, minlength=thresholds.size)
    gained = np.bincount(group, weights=positive, minlength=thresholds.size)
    seen, found = np.cumsum(size), np.cumsum(gained)
    total = found[-1]
    fewer = np.maximum(seen - 1, 1)  # where nothing else is seen there is nothing to gain either
    before = np.concatenate([[0.0], np.cumsum(gained * found / seen)])[:-1][group]
    own = positive.astype(np.float64)
    here = (gained[group] - own) * (found[group] - own) / fewer[group]
    after = np.where(positive, _beyond(gained * (found - 1) / fewer)[group], _beyond(gained * found / fewer)[group])
    return _values(float((gained * found / seen).sum() / total), (before + here + after) / (total - own))


def _values(figure: float, without: Floats) -> Floats:
    values: Floats = figure + (without.size - 1) * (without.mean() - without)
    return values


def _ranks_without(ranks: Floats, at: int) -> Floats:
    """Ranks of the others once a case is left out."""
    own = ranks[at]
    left: Floats = np.delete(ranks - (ranks > own) - 0.5 * (ranks == own), at)
    return left


def _correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / spread if spread else float("nan")


def _beyond(terms: Floats) -> Floats:
    """At each place the sum of the terms behind it."""
    sums: Floats = terms.sum() - np.cumsum(terms)
    return sums
