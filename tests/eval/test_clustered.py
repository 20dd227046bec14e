"""Two arms by conversation: hand-computed figures, and how often equal arms are called different."""

import math

import numpy as np
import pytest
from scipy.stats import fisher_exact

from eval.clustered import LEAST_CLUSTERS, cluster_randomisation_test, compare_clustered

Values = list[tuple[str, float]]


def singles(ones: int, of: int) -> Values:
    return [(f"c{place}", float(place < ones)) for place in range(of)]


def test_with_one_value_a_conversation_p_is_fishers_exact() -> None:
    # Of 20 conversations each 3 and 10 are liked. Fisher: sum of the hypergeometric probabilities that are not larger.
    found = compare_clustered(singles(3, 20), singles(10, 20))
    ways = [math.comb(20, k) * math.comb(20, 13 - k) / math.comb(40, 13) for k in range(14)]
    assert found.test == "fisher"
    assert found.p == pytest.approx(sum(way for way in ways if way <= ways[3] * (1 + 1e-9)))
    assert (found.mean_a, found.mean_b, found.difference) == (0.15, 0.5, 0.35)
    # The variance of each mean is p (1 - p) / (n - 1): .15 * .85 / 19 + .5 * .5 / 19; t(38) at .975 is 2.0244.
    error = math.sqrt((0.1275 + 0.25) / 19)
    assert found.ci95 == pytest.approx((0.35 - 2.0244 * error, 0.35 + 2.0244 * error), abs=1e-4)
    assert found.detectable == pytest.approx((1.95996 + 0.84162) * error, abs=1e-4)


def test_conversations_of_several_answers_are_weighed_by_their_answers() -> None:
    a = [(f"c{place}", value) for place in range(10) for value in (1.0, 0.0)]  # 10 of 20, each half and half
    b = [("big", 1.0)] * 6 + [(f"c{place}", 0.0) for place in range(9)]  # 6 of 15
    found = compare_clustered(a, b, resamples=500)
    assert (found.n_a, found.n_b, found.clusters_a, found.clusters_b) == (20, 15, 10, 10)
    assert (found.mean_a, found.mean_b, found.test) == (0.5, 0.4, "randomisation")
    # a has no spread between conversations. b: residuals 6 - .4 * 6 = 3.6 and nine of -.4, so 10/9 * 14.4 / 15^2.
    error = math.sqrt(10 / 9 * (3.6**2 + 9 * 0.4**2) / 15**2)
    assert found.detectable == pytest.approx((1.95996 + 0.84162) * error, abs=1e-4)
    assert found.ci95 is not None
    assert found.ci95[1] - found.ci95[0] == pytest.approx(2 * 2.10092 * error, abs=1e-4)  # t(18)


def test_the_randomisation_test_is_that_of_all_drawings() -> None:
    # Four conversations: {3 of 3, 2 of 2} against {0 of 1, 1 of 4}. Of the six ways to draw two of four, the one made
    # and its mirror differ by 1 - .2; the others by at most .6 (3/7 - 2/3 and so on). So p is 2 / 6.
    a, b = np.array([[3.0, 3.0], [2.0, 2.0]]), np.array([[0.0, 1.0], [1.0, 4.0]])
    assert cluster_randomisation_test(a, b, resamples=20_000) == pytest.approx(1 / 3, abs=0.01)


def test_too_few_conversations_and_values_without_spread_say_so() -> None:
    few = compare_clustered(singles(1, LEAST_CLUSTERS - 1), singles(9, 30))
    assert (few.p, few.ci95, few.detectable, few.test) == (None, None, None, None)
    assert few.difference == pytest.approx(9 / 30 - 1 / 9)
    nothing = compare_clustered([], singles(1, 12))
    assert (nothing.mean_a, nothing.difference, nothing.clusters_a) == (None, None, 0)
    same = compare_clustered(singles(0, 20), singles(0, 20))
    assert (same.p, same.ci95, same.detectable) == (1.0, None, None)


def drawn(random: np.random.Generator, conversations: int, lift: float = 0.0) -> Values:
    """Conversations of 1 to 6 judged answers whose readers like some share of all that they are told."""
    values: Values = []
    for place in range(conversations):
        liked = min(1.0, random.beta(1, 1) + lift)
        values += [(f"c{place}", float(random.random() < liked)) for _ in range(random.integers(1, 7))]
    return values


def test_equal_arms_are_called_different_in_at_most_6_of_100() -> None:
    random = np.random.default_rng(7)
    significant = naive = 0
    for _ in range(500):
        a, b = drawn(random, 40), drawn(random, 40)
        p = compare_clustered(a, b, resamples=400).p
        assert p is not None
        significant += p < 0.05
        table = [[sum(value == outcome for _, value in arm) for outcome in (1.0, 0.0)] for arm in (a, b)]
        naive += fisher_exact(table).pvalue < 0.05
    assert significant <= 30
    assert naive > 60, (
        "a test that takes answers for independent would pass, too: the conversations are not alike enough"
    )


def test_a_true_difference_is_found() -> None:
    random = np.random.default_rng(8)
    found = [compare_clustered(drawn(random, 150), drawn(random, 150, 0.2), resamples=400) for _ in range(20)]
    assert sum(test.p is not None and test.p < 0.05 for test in found) >= 17
