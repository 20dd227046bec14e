"""The bootstrap against the normal approximation, and the same seed against itself."""

import numpy as np
import pytest

from eval.statistics import bootstrap_interval


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
