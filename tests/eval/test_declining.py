"""Figures of declining and the threshold, by hand."""

import math

import numpy as np
import pytest

from eval.declining import area_under, choose_threshold, fit_doubt, measure_declining, risk_at, risk_coverage


def test_shares_by_hand() -> None:
    missing = [True] * 4 + [False] * 6
    declined = [True, True, True, False] + [True] + [False] * 5
    found = measure_declining(missing, declined)
    assert (found.precision, found.recall, found.f1, found.n) == (3 / 4, 3 / 4, 3 / 4, 10)
    assert found.declined_answerable == 1 / 6
    assert found.precision_ci95 == found.recall_ci95 == (0.3006, 0.9544)  # Wilson's, of 3 of 4
    assert found.f1_ci95[0] < 0.75 < found.f1_ci95[1]
    assert measure_declining(missing, declined) == found


def test_nothing_declined_has_no_precision() -> None:
    found = measure_declining([True, False], [False, False])
    assert (found.precision, found.precision_ci95, found.recall, found.f1) == (None, None, 0.0, 0.0)
    assert found.f1_ci95 == (0.0, 0.0)


def test_the_threshold_costs_no_more_than_it_may() -> None:
    missing = np.array([0.0] * 10 + [1.0] * 4)
    doubts = np.array([0.1] * 8 + [0.6, 0.7] + [0.65, 0.8, 0.9, math.inf])
    # above .1 two of ten are declined, too many; above .6 one, with every missing one: F1 8 / 9
    assert choose_threshold(doubts, missing) == 0.6
    assert (
        choose_threshold(np.array([math.inf] * 10 + [0.9] * 4), missing) == 1.0
    )  # the model declines too much already


def test_a_sign_that_tells_gets_its_weight() -> None:
    rng = np.random.default_rng(3)
    missing = np.array([0.0, 1.0] * 100)
    signs = np.column_stack([-missing + rng.normal(0, 0.3, 200), rng.normal(0, 1, 200), np.zeros(200)])
    bias, (tells, noise, constant) = fit_doubt(signs, missing)
    assert tells < -3
    assert abs(noise) < 1
    assert constant == 0.0
    assert bias < 0


def test_area_and_risk_of_a_curve() -> None:
    points = risk_coverage([(0.9, 1.0), (0.8, 0.0), (0.7, 1.0), (0.1, 0.0)])
    assert points == [(0.25, 0.0), (0.5, 0.5), (0.75, pytest.approx(1 / 3)), (1.0, 0.5)]
    assert area_under(points) == pytest.approx((0 + 0.5 + 1 / 3 + 0.5) / 4)
    assert (risk_at(points, 0.1), risk_at(points, 0.5), risk_at(points, 0.6)) == (0.0, 0.5, pytest.approx(1 / 3))
