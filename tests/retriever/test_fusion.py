"""Fusion against values computed by hand, and its order under any permutation of ties."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.fusion import (
    NORMALISATIONS,
    Normalisation,
    blend,
    convex,
    min_max,
    normalised,
    rrf,
    rrf_weights,
    z_score,
)

LEXICAL = [(1, 12.0), (2, 6.0), (3, 4.0)]
DENSE = [(3, 0.9), (4, 0.7), (1, 0.5)]

rankings = st.dictionaries(
    st.integers(0, 30), st.floats(-1e6, 1e6, allow_nan=False, allow_infinity=False), max_size=12
).map(lambda scores: sorted(scores.items(), key=lambda pair: -pair[1]))
positive = rankings.map(lambda ranking: [(key, abs(score)) for key, score in ranking]).map(
    lambda ranking: sorted(ranking, key=lambda pair: -pair[1])
)


def test_min_max_spans_zero_to_one() -> None:
    assert min_max(LEXICAL) == {1: 1.0, 2: 0.25, 3: 0.0}


def test_min_max_from_a_theoretical_floor() -> None:
    assert min_max(LEXICAL, floor=0.0) == pytest.approx({1: 1.0, 2: 0.5, 3: 1 / 3})


@pytest.mark.parametrize("ranking", [[(7, 3.0)], [(7, 3.0), (8, 3.0)]])
def test_min_max_of_equal_scores_is_one(ranking: list[tuple[int, float]]) -> None:
    assert set(min_max(ranking).values()) == {1.0}


def test_min_max_of_nothing_is_nothing() -> None:
    assert min_max([]) == {}


def test_a_reranker_is_blended_by_hand() -> None:
    # before: 1: 1, 2: 1/4, 3: 0; reranked (log-odds -1 to 3): 3: 1, 2: 3/4, 1: 0
    blended = dict(blend(LEXICAL, [(3, 3.0), (2, 2.0), (1, -1.0)], 0.4))
    assert blended == pytest.approx({1: 0.6 * 1, 2: 0.6 * 0.25 + 0.4 * 0.75, 3: 0.4})


@given(rankings, st.randoms(use_true_random=False))
def test_a_blend_ends_in_what_it_is_made_of(first: list[tuple[int, float]], draw: random.Random) -> None:
    keys = [key for key, _ in first]
    draw.shuffle(keys)
    reranked = [(key, -float(place)) for place, key in enumerate(keys)]
    assert [key for key, _ in blend(first, reranked, 1.0)] == keys
    assert dict(blend(first, reranked, 0.0)) == min_max(first)


def test_a_blend_of_other_passages_is_refused() -> None:
    with pytest.raises(ValueError, match="does not"):
        blend(LEXICAL, DENSE, 0.5)
    with pytest.raises(ValueError, match="from 0 to 1"):
        blend(LEXICAL, LEXICAL, 1.5)


def test_convex_by_hand() -> None:
    # lexical from 0: 1: 1, 2: 1/2, 3: 1/3; dense from its worst: 3: 1, 4: 1/2, 1: 0
    fused = convex(LEXICAL, DENSE, dense_weight=0.6)
    assert [key for key, _ in fused] == [3, 1, 4, 2]
    assert [score for _, score in fused] == pytest.approx([0.6 + 0.4 / 3, 0.4, 0.3, 0.2])


def test_convex_of_min_max_by_hand() -> None:
    # lexical 1: 1, 2: 1/4, 3: 0; dense 3: 1, 4: 1/2, 1: 0
    fused = convex(LEXICAL, DENSE, 0.6, "min-max")
    assert [key for key, _ in fused] == [3, 1, 4, 2]
    assert [score for _, score in fused] == pytest.approx([0.6, 0.4, 0.3, 0.1])


def test_theoretical_by_hand() -> None:
    words, meaning = normalised(LEXICAL, DENSE, "theoretical")
    assert words == pytest.approx({1: 1.0, 2: 1 / 2, 3: 1 / 3})
    assert meaning == pytest.approx({3: 1.0, 4: 1.7 / 1.9, 1: 1.5 / 1.9})


def test_z_score_by_hand() -> None:
    # 0.9, 0.7, 0.5: the standard deviation is sqrt(0.08 / 3)
    spread = math.sqrt(0.08 / 3)
    assert z_score(DENSE) == pytest.approx({3: 0.4 / spread, 4: 0.2 / spread, 1: 0.0})
    assert z_score([(7, 3.0), (8, 3.0)]) == {7: 1.0, 8: 1.0}
    assert z_score([]) == {}


@pytest.mark.parametrize("how", NORMALISATIONS)
def test_every_normalisation_keeps_the_order_of_a_ranking(how: Normalisation) -> None:
    assert [key for key, _ in convex(LEXICAL, [], 0.5, how)] == [1, 2, 3]
    assert [key for key, _ in convex([], DENSE, 0.5, how)] == [3, 4, 1]


@pytest.mark.parametrize(("weight", "best"), [(0.0, 1), (1.0, 3)])
def test_convex_at_its_ends_follows_one_retriever(weight: float, best: int) -> None:
    assert convex(LEXICAL, DENSE, weight)[0] == (best, 1.0)


def test_convex_of_one_empty_ranking_keeps_the_other() -> None:
    assert [key for key, _ in convex([], DENSE, 0.5)] == [3, 4, 1]
    assert [key for key, _ in convex(LEXICAL, [], 0.5)] == [1, 2, 3]
    assert convex([], [], 0.5) == []


@pytest.mark.parametrize("weight", [-0.1, 1.1, math.nan])
def test_convex_refuses_a_weight_outside_zero_to_one(weight: float) -> None:
    with pytest.raises(ValueError, match="dense_weight"):
        convex(LEXICAL, DENSE, weight)


def test_rrf_by_hand() -> None:
    fused = rrf([LEXICAL, DENSE], k=60)
    assert [key for key, _ in fused] == [1, 3, 2, 4]
    expected = [1 / 61 + 1 / 63, 1 / 63 + 1 / 61, 1 / 62, 1 / 62]
    assert [score for _, score in fused] == pytest.approx(expected)


def test_rrf_weights_by_hand() -> None:
    fused = dict(rrf([LEXICAL, DENSE], k=1, weights=[1.0, 3.0]))
    assert fused == pytest.approx({1: 1 / 2 + 3 / 4, 2: 1 / 3, 3: 1 / 4 + 3 / 2, 4: 3 / 3})


def test_the_plain_rrf_has_a_dense_weight_of_half() -> None:
    assert rrf([LEXICAL, DENSE], 60, rrf_weights(0.5)) == rrf([LEXICAL, DENSE], 60)
    assert rrf_weights(0.25) == (1.5, 0.5)


def test_rrf_wants_one_weight_for_each_ranking() -> None:
    with pytest.raises(ValueError):
        rrf([LEXICAL, DENSE], weights=[1.0])


def test_rrf_refuses_a_negative_k() -> None:
    with pytest.raises(ValueError, match="k is"):
        rrf([LEXICAL], k=-2)


@given(positive, rankings, st.floats(0, 1))
def test_fused_scores_are_finite_ordered_and_tied_by_key(
    lexical: list[tuple[int, float]], dense: list[tuple[int, float]], weight: float
) -> None:
    for fused in (convex(lexical, dense, weight), rrf([lexical, dense])):
        assert {key for key, _ in fused} == {key for key, _ in [*lexical, *dense]}
        assert all(math.isfinite(score) for _, score in fused)
        assert fused == sorted(fused, key=lambda pair: (-pair[1], pair[0]))
        assert all(0 <= score <= 1 + 1e-9 for _, score in fused)


@given(st.permutations(list(range(6))))
def test_order_within_a_tied_ranking_does_not_change_convex(keys: list[int]) -> None:
    tied = [(key, 2.0) for key in keys]
    assert [key for key, _ in convex(tied, tied, 0.5)] == [0, 1, 2, 3, 4, 5]


@given(positive, rankings, st.floats(0, 1), st.sampled_from(NORMALISATIONS))
def test_convex_is_its_formula_to_the_last_bit(
    lexical: list[tuple[int, float]], dense: list[tuple[int, float]], weight: float, how: Normalisation
) -> None:
    words, meaning = normalised(lexical, dense, how)
    expected = [
        (key, weight * meaning.get(key, 0.0) + (1 - weight) * words.get(key, 0.0)) for key in {*words, *meaning}
    ]
    assert convex(lexical, dense, weight, how) == sorted(expected, key=lambda pair: (-pair[1], pair[0]))
