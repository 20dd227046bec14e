from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, product
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from generator.beams import Indices, beam_search
from generator.marginal import (
    Array,
    MarginalSettings,
    log_softmax,
    mix,
    passage_log_p,
    posterior,
    sequence_log_p,
    token_log_p,
)
from indexer.errors import ConfigError
from retriever.hit import Hit, Part

LOGS = st.floats(-8, 0)
# Two passages, two answers of two tokens: "a b" and "a c".
PASSAGES = np.log([0.6, 0.4])
TOKENS = np.log([[[0.5, 0.8], [0.5, 0.2]], [[0.1, 0.5], [0.1, 0.5]]])  # (Z, H, N)


def test_rag_sequence_by_hand() -> None:
    # "a b": .6 * .5 * .8 + .4 * .1 * .5; "a c": .6 * .5 * .2 + .4 * .1 * .5
    assert np.exp(sequence_log_p(PASSAGES, TOKENS)) == pytest.approx([0.26, 0.08])


def test_rag_token_by_hand() -> None:
    # "a": .6 * .5 + .4 * .1 = .34; then "b": .6 * .8 + .4 * .5 = .68, "c": .6 * .2 + .4 * .5 = .32
    assert np.exp(token_log_p(PASSAGES, TOKENS)) == pytest.approx([0.34 * 0.68, 0.34 * 0.32])


def test_posterior_by_hand() -> None:
    known = posterior(PASSAGES, TOKENS.sum(-1))
    assert known == pytest.approx(np.array([[0.24 / 0.26, 0.06 / 0.08], [0.02 / 0.26, 0.02 / 0.08]]))


def test_an_answer_outside_a_beam_counts_nothing_and_no_number_is_lost() -> None:
    logs = np.array([[np.log(0.5), -np.inf, -np.inf], [-np.inf, np.log(0.25), -np.inf]])
    assert np.exp(mix(PASSAGES, logs)) == pytest.approx([0.3, 0.1, 0.0])
    assert posterior(PASSAGES, logs) == pytest.approx(np.array([[1, 0, 0.6], [0, 1, 0.4]]))


@given(arrays(np.float64, (1, 3, 4), elements=LOGS))
def test_with_one_passage_both_are_the_model_itself(log_tokens: Array) -> None:
    alone = log_tokens[0].sum(-1)
    assert sequence_log_p(np.zeros(1), log_tokens) == pytest.approx(alone)
    assert token_log_p(np.zeros(1), log_tokens) == pytest.approx(alone)


@given(arrays(np.float64, 4, elements=LOGS), arrays(np.float64, (4, 5, 1), elements=LOGS))
def test_for_one_token_both_are_equal(scores: Array, log_tokens: Array) -> None:
    """The paper's classifier: a target of length one."""
    passages = log_softmax(scores)
    assert sequence_log_p(passages, log_tokens) == pytest.approx(token_log_p(passages, log_tokens))


@given(arrays(np.float64, 3, elements=LOGS), arrays(np.float64, (3, 2, 4), elements=LOGS))
def test_both_are_distributions(scores: Array, logits: Array) -> None:
    """Over all 16 answers of two tokens; the next token depends on nothing here."""
    steps = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)  # (Z, N, V)
    answers = list(product(range(4), repeat=2))
    log_tokens = np.array([[[z[0, a], z[1, b]] for a, b in answers] for z in steps])
    passages = log_softmax(scores)
    assert np.exp(sequence_log_p(passages, log_tokens)).sum() == pytest.approx(1)
    assert np.exp(token_log_p(passages, log_tokens)).sum() == pytest.approx(1)
    assert posterior(passages, log_tokens.sum(-1)).sum(0) == pytest.approx(np.ones(16))


def test_passages_weigh_by_their_scores(hit: Callable[..., Hit]) -> None:
    hits = [replace(hit("a"), score=7.5, stage="bm25"), replace(hit("b"), score=5.0, stage="bm25")]
    # A difference of 2.5 is one unit at bm25's temperature, 2.5 at 1.
    assert np.exp(passage_log_p(hits)) == pytest.approx([np.e / (np.e + 1), 1 / (np.e + 1)])
    assert np.exp(passage_log_p(hits, 1.0))[0] == pytest.approx(1 / (1 + np.exp(-2.5)))


def test_scores_of_different_stages_are_never_compared(hit: Callable[..., Hit]) -> None:
    def found(score: float, stage: str, **parts: float) -> Hit:
        told = {name: Part(value, 1) for name, value in parts.items()}
        return replace(hit("a"), score=score, stage=stage, parts=MappingProxyType(told))

    hits = [found(9.0, "rerank", convex=0.12, rerank=9.0), found(0.24, "convex", convex=0.24)]
    assert np.exp(passage_log_p(hits)) == pytest.approx([1 / (1 + np.e), np.e / (1 + np.e)])
    strangers = [found(9.0, "bm25", bm25=9.0), found(0.2, "dense", dense=0.2)]
    assert np.exp(passage_log_p(strangers)) == pytest.approx([0.5, 0.5])


def test_rag_token_has_one_decoding() -> None:
    with pytest.raises(ConfigError, match="RAG-Token has one decoding"):
        MarginalSettings("token", "fast")


END = 0


class Toy:
    """G models of four words whose next word depends on the last one; counts its steps."""

    def __init__(self, logits: Array) -> None:
        self.logs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)  # (G, V, V), row 0: at the beginning
        self.steps = 0

    def step(self, parents: Indices, tokens: Indices) -> Array:
        self.steps += 1
        return np.stack([own[chosen] for own, chosen in zip(self.logs, tokens, strict=True)])

    def log_p(self, group: int, answer: tuple[int, ...]) -> float:
        path = (0, *answer, END)
        return float(sum(self.logs[group, a, b] for a, b in pairwise(path)))


@given(arrays(np.float64, (2, 4, 4), elements=st.floats(-3, 3)))
def test_a_wide_beam_finds_what_trying_everything_finds(logits: Array) -> None:
    toy = Toy(logits)
    found = beam_search(toy.logs[:, 0], toy.step, END, 27, 3)
    answers = [answer for length in (1, 2, 3) for answer in product((1, 2, 3), repeat=length)]
    for group, beams in enumerate(found):
        best = max(toy.log_p(group, answer) for answer in answers)
        assert beams[0].log_p == pytest.approx(best)
        assert all(beam.log_p == pytest.approx(toy.log_p(group, beam.tokens)) for beam in beams)
        assert [beam.log_p for beam in beams] == sorted((beam.log_p for beam in beams), reverse=True)
        assert len({beam.tokens for beam in beams}) == len(beams)


@given(st.integers(0, 10_000))
def test_a_beam_of_one_is_greedy(seed: int) -> None:
    """Each step takes the best word; the answer may end after any of them."""
    toy = Toy(np.random.default_rng(seed).normal(size=(1, 4, 4)))  # without ties
    (beams,) = beam_search(toy.logs[:, 0], toy.step, END, 1, 4)
    path: list[int] = []
    for _ in range(4):
        path.append(1 + int(toy.logs[0, path[-1] if path else 0, 1:].argmax()))
    ended = [tuple(path[:length]) for length in (1, 2, 3, 4)]
    assert beams[0].log_p == pytest.approx(max(toy.log_p(0, answer) for answer in ended))


def test_words_that_never_end_are_cut_and_sure_ones_stop_early() -> None:
    endless = np.zeros((1, 4, 4))
    endless[:, :, END] = -np.inf
    toy = Toy(endless)
    assert beam_search(toy.logs[:, 0], toy.step, END, 3, 7) == ((),)
    assert toy.steps == 7
    sure = np.full((1, 4, 4), -9.0)
    sure[:, :, END] = 9.0
    toy = Toy(sure)
    (beams,) = beam_search(toy.logs[:, 0], toy.step, END, 3, 7)
    assert toy.steps == 1
    assert {beam.tokens for beam in beams} == {(1,), (2,), (3,)}
