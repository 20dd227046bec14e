"""Likeness of texts, with values counted by hand."""

from collections import Counter
from math import sqrt

import pytest

from retriever.similar import cosine, resemblance, shingles


def test_shingles_are_runs_of_four_stems() -> None:
    assert shingles("The pump was broken, again") == {
        ("the", "pump", "was", "broken"),
        ("pump", "was", "broken", "again"),
    }
    assert shingles("Pumps broke.") == {("pump", "broke")}
    assert shingles(" -- ") == frozenset()


def test_resemblance_is_the_share_of_common_shingles() -> None:
    one, other = shingles("a b c d e f"), shingles("a b c d e g")  # 3 runs each, 2 of them common: 2 of 4
    assert resemblance(one, other) == 0.5
    assert resemblance(one, one) == 1
    assert resemblance(frozenset(), frozenset()) == 0


def test_cosine_of_counts() -> None:
    assert cosine(Counter("aab"), Counter("abb")) == pytest.approx(4 / 5)  # (2*1 + 1*2) / (sqrt 5 * sqrt 5)
    assert cosine(Counter("ab"), Counter("a")) == pytest.approx(1 / sqrt(2))
    assert cosine(Counter("a"), Counter()) == 0
