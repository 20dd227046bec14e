"""Jackknife values: their mean is the figure, and leaving each case out is what it says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from eval.jackknife import average_precision_values, spearman_values
from eval.statistics import Floats, bootstrap_interval


def average_precision(positive: Floats, scores: Floats) -> float:
    """The definition, threshold by threshold (as in scikit-learn)."""
    total, gained_before = 0.0, 0
    for threshold in sorted(set(scores), reverse=True):
        seen = scores >= threshold
        found = int(positive[seen].sum())
        total += (found - gained_before) * found / int(seen.sum())
        gained_before = found
    return total / positive.sum()


def test_spearman_by_hand() -> None:
    # Ranks 1 2 3 4 against 1 3 2 4: 1 - 6 * 2 / (4 * 15) = .8. Without a case: 1 - 6d/24 = .5, 1, 1, .5.
    values = spearman_values(np.array([1.0, 2, 3, 4]), np.array([10.0, 30, 20, 40]))
    # .8 + 3 * (.75 - without)
    assert values == pytest.approx([1.55, 0.05, 0.05, 1.55])
    assert values.mean() == pytest.approx(0.8)


def test_average_precision_by_hand() -> None:
    # Ranked + - +: (1/1 + 2/3) / 2 = 5/6. Without the first: 1/2; without the second: 1; without the third: 1.
    values = average_precision_values(np.array([True, False, True]), np.array([0.9, 0.5, 0.1]))
    # 5/6 + 2 * (5/6 - without)
    assert values == pytest.approx([1.5, 0.5, 0.5])
    assert values.mean() == pytest.approx(5 / 6)


cases = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=5, max_size=25)


@settings(deadline=None)
@given(cases)
def test_spearman_is_that_of_scipy_with_and_without_each_case(pairs: list[tuple[int, int]]) -> None:
    a, b = (np.array(side, dtype=np.float64) for side in zip(*pairs, strict=True))
    without = []
    for at in range(a.size):
        left = np.delete(a, at), np.delete(b, at)
        if min(np.ptp(side) for side in left) == 0:
            assert not np.isfinite(spearman_values(a, b)).all()
            return
        without.append(spearmanr(*left).statistic)
    figure = spearmanr(a, b).statistic
    expected = figure + (a.size - 1) * (np.mean(without) - np.array(without))
    assert spearman_values(a, b) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(cases)
def test_average_precision_is_the_definition_with_and_without_each_case(pairs: list[tuple[int, int]]) -> None:
    positive = np.array([label >= 2 for label, _ in pairs])
    positive[:2] = True
    scores = np.array([score for _, score in pairs], dtype=np.float64)
    without = [average_precision(np.delete(positive, at), np.delete(scores, at)) for at in range(scores.size)]
    expected = average_precision(positive, scores) + (scores.size - 1) * (np.mean(without) - np.array(without))
    assert average_precision_values(positive, scores) == pytest.approx(expected, abs=1e-9)


def test_a_constant_side_has_no_correlation() -> None:
    assert not np.isfinite(spearman_values(np.ones(5), np.arange(5.0))).all()


def test_the_interval_is_near_that_of_resampled_pairs() -> None:
    """On 200 noisy pairs the bootstrap of the values ends within .02 of the bootstrap of the figure itself."""
    random = np.random.default_rng(0)
    a = random.standard_normal(200)
    b = a + random.standard_normal(200)
    drawn = [spearmanr(a[rows], b[rows]).statistic for rows in random.integers(0, 200, (1000, 200))]
    assert bootstrap_interval(spearman_values(a, b).tolist()) == pytest.approx(
        np.quantile(drawn, [0.025, 0.975]), abs=0.02
    )
