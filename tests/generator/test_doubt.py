"""The probability that the documents do not say: its signs, by hand, and its arithmetic."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from generator.answer import Answer, Citation
from generator.doubt import DoubtSettings, Signs, doubt_of, signs_of
from retriever.hit import Hit, Part


def cited(hit: Hit, number: int, support: float) -> Citation:
    chunk = hit.chunk
    return Citation(number, chunk.id, chunk.document_id, hit.source, None, chunk.start, chunk.end, chunk.text, support)


def test_signs_are_those_of_the_cited_passages(hit: Callable[..., Hit]) -> None:
    full = replace(hit("The tower is tall.", 0), parts={"dense": Part(0.9, 1)})
    half = replace(hit("A tower.", 50), parts={"dense": Part(0.4, 2), "bm25": Part(7.0, 1)})
    other = replace(hit("Tea is green.", 90), parts={"bm25": Part(1.0, 3)})
    citations = (cited(half, 1, 0.5), cited(other, 2, 1.0))
    answer = Answer("x", citations, (full, half, other), False, "tall tower", log_p_token=-0.25)
    signs = signs_of(answer)
    assert signs is not None
    assert 0 < signs.coverage < 1  # "tower" but not "tall": the passage with both is not cited
    assert (signs.dense, signs.support, signs.log_p) == (0.4, 0.75, -0.25)
    whole = signs_of(replace(answer, citations=(cited(full, 1, 1.0),)))
    assert whole is not None
    assert whole.coverage == pytest.approx(1.0)


def test_a_declined_answer_has_no_signs(hit: Callable[..., Hit]) -> None:
    assert signs_of(Answer("", (), (hit("The tower is tall."),), True, "tall tower")) is None


def test_doubt_is_a_logistic_regression() -> None:
    settings = DoubtSettings(bias=1.0, coverage=-2.0, dense=0.5, support=-1.0, log_p=-0.5, typical_log_p=-2.0)
    signs = Signs(coverage=0.5, dense=0.4, support=0.8, log_p=-1.0)
    odds = 1.0 - 1.0 + 0.2 - 0.8 + 0.5
    assert doubt_of(signs, settings) == pytest.approx(1 / (1 + math.exp(-odds)))
    unsure = 1.0 - 1.0 + 0.2 - 0.8 + 1.0  # the typical log-probability stands in
    assert doubt_of(replace(signs, log_p=None), settings) == pytest.approx(1 / (1 + math.exp(-unsure)))
    assert doubt_of(Signs(1, 1, 1, -9999.0), replace(settings, log_p=-1e6)) == pytest.approx(1.0)  # no overflow
