"""Intervals and tests against the normal approximation, exact enumeration, scipy and values computed by hand."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import permutation_test

from eval.statistics import (
    bootstrap_interval,
    compare_paired,
    detectable_difference,
    holm,
    mcnemar,
    proportion_interval,
    randomisation_test,
)


def test_interval_is_near_the_normal_one_for_a_large_sample() -> None:
    values = np.random.default_rng(1).normal(0.5, 0.2, size=2000).tolist()
    low, high = bootstrap_interval(values)
    half = 1.96 * np.std(values) / np.sqrt(len(values))
    assert low == pytest.approx(np.mean(values) - half, abs=0.001)
    assert high == pytest.approx(np.mean(values) + half, abs=0.001)


def test_same_seed_same_interval_another_seed_another() -> None:
    values = [0.1, 0.4, 0.35, 0.8, 0.9, 0.2]
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3, resamples=50) != bootstrap_interval(values, seed=4, resamples=50)


def test_equal_values_give_a_point() -> None:
    assert bootstrap_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)
    assert bootstrap_interval([0.7]) == (0.7, 0.7)


def test_more_confidence_is_wider() -> None:
    values = [0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.3]
    narrow, wide = bootstrap_interval(values, confidence=0.5), bootstrap_interval(values, confidence=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_no_values_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        bootstrap_interval([])


def exact_p(moved: list[float]) -> float:
    """All exchanges of labels, counted."""
    sums = [abs(sum(sign * value for sign, value in zip(signs, moved, strict=True))) for signs in every_sign(moved)]
    return sum(total >= abs(sum(moved)) - 1e-9 for total in sums) / len(sums)


def every_sign(moved: list[float]) -> list[tuple[int, ...]]:
    return list(itertools.product((1, -1), repeat=len(moved)))


def test_randomisation_is_near_the_exact_test() -> None:
    moved = [0.3, -0.1, 0.25, 0.4, 0.05, -0.02, 0.31, 0.2, 0.11, 0.07]
    assert randomisation_test(moved) == pytest.approx(exact_p(moved), abs=0.005)


def test_randomisation_agrees_with_scipy() -> None:
    moved = np.random.default_rng(5).normal(0.05, 0.2, 80)
    theirs = permutation_test((moved,), np.sum, permutation_type="samples", n_resamples=9999, rng=7)
    assert randomisation_test(moved) == pytest.approx(theirs.pvalue, abs=0.01)


def test_no_difference_is_no_evidence() -> None:
    assert randomisation_test([0.0, 0.0, 1e-15]) == 1.0


def test_mcnemar_by_hand() -> None:
    # Two-sided: twice the chance of at most 2 losses in 10 fair throws, (1 + 10 + 45) / 1024.
    assert mcnemar(8, 2) == pytest.approx(2 * 56 / 1024)
    assert mcnemar(0, 0) == mcnemar(3, 3) == 1.0


def test_holm_by_hand() -> None:
    adjusted = holm({"c": 0.03, "a": 0.01, "b": 0.04, "d": 0.9})
    assert adjusted == pytest.approx({"a": 0.04, "c": 0.09, "b": 0.09, "d": 0.9})
    assert list(adjusted) == ["c", "a", "b", "d"]
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}


def test_a_paired_comparison_by_hand() -> None:
    test = compare_paired([0.0, 0.5, 0.5, 1.0], [0.5, 0.5, 1.0, 0.5])
    assert (test.n, test.wins, test.losses, test.ties, test.test) == (4, 2, 1, 1, "randomisation")
    assert test.difference == pytest.approx(0.125)
    assert test.effect_size == pytest.approx(0.125 / np.std([0.5, 0.0, 0.5, -0.5], ddof=1))
    assert test.ci95[0] <= 0.125 <= test.ci95[1]


def test_shares_are_tested_by_mcnemar() -> None:
    a, b = [0.0] * 8 + [1.0] * 2 + [1.0] * 5, [1.0] * 8 + [0.0] * 2 + [1.0] * 5
    test = compare_paired(a, b)
    assert (test.test, test.p) == ("mcnemar", mcnemar(8, 2))


def test_one_case_proves_nothing() -> None:
    test = compare_paired([0.2], [0.9])
    assert (test.p, test.effect_size, test.detectable) == (1.0, None, math.inf)


def test_unequal_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="same cases"):
        compare_paired([0.1], [0.1, 0.2])


def test_equal_runs_are_seldom_called_different() -> None:
    """500 comparisons of two runs that differ by chance alone, with the ties that metrics have."""
    random = np.random.default_rng(11)
    significant = 0
    for _ in range(500):
        quality = random.beta(0.4, 0.4, 100)
        a, b = (np.round(np.clip(quality + random.normal(0, 0.2, 100), 0, 1), 1) for _ in range(2))
        significant += randomisation_test(b - a, resamples=1999) < 0.05
    assert significant <= 0.06 * 500


def test_a_true_difference_is_found_at_the_promised_power() -> None:
    random = np.random.default_rng(12)
    n, deviation = 350, 0.2
    promised = detectable_difference(np.tile([deviation, -deviation], n // 2))
    assert promised == pytest.approx(0.03, abs=0.0005)  # (1.96 + 0.84) * 0.2 / sqrt(350)
    found = sum(randomisation_test(random.normal(promised, deviation, n), resamples=999) < 0.05 for _ in range(500))
    assert 0.75 <= found / 500 <= 0.86


def test_wilson_interval_by_hand() -> None:
    # 0 of 8: z^2 / (n + z^2) = 3.8415 / 11.8415
    assert proportion_interval(0, 8) == pytest.approx((0.0, 0.3244), abs=1e-4)
    assert proportion_interval(4, 8) == pytest.approx((0.2152, 0.7848), abs=1e-4)
