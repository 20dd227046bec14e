"""Beam search over any model of the next token."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generator.marginal import Array

Indices = NDArray[np.int64]
# (G, B) parents among the branches of the step before, (G, B) tokens put after them -> (G, B, V) log-probabilities
Step = Callable[[Indices, Indices], Array]


@dataclass(frozen=True, slots=True)
class Beam:
    """An answer that ended."""

    tokens: tuple[int, ...]  # without the end
    log_p: float  # of the tokens and of ending after them


def beam_search(first: Array, step: Step, end: int, beams: int, max_tokens: int) -> tuple[tuple[Beam, ...], ...]:
    """The most probable answers of each of G searches that go side by side, at most `beams` of each, best first.

    `first` (G, V) are the log-probabilities of the first token; an answer has at least one and at most `max_tokens`.
    A search ends when no branch is more probable than its best answer: words only lose probability as they get more,
    so that no better one can come. All searches take as many steps as the longest.
    """
    done: list[list[Beam]] = [[] for _ in first]
    words: list[list[tuple[int, ...]]] = [[()] for _ in first]
    parents, tokens, log_p = _best(first[:, None, :], end, beams)
    for _ in range(max_tokens):
        words = [
            [(*own[parent], token) for parent, token in zip(parents[g].tolist(), tokens[g].tolist(), strict=True)]
            for g, own in enumerate(words)
        ]
        scores = log_p[:, :, None] + step(parents, tokens)
        for g, own in enumerate(words):
            ended = [Beam(each, float(scores[g, b, end])) for b, each in enumerate(own) if scores[g, b, end] > -np.inf]
            done[g] = sorted([*done[g], *ended], key=lambda beam: (-beam.log_p, beam.tokens))[:beams]
        parents, tokens, log_p = _best(scores, end, beams)
        if all(own and own[0].log_p >= going.max() for own, going in zip(done, log_p, strict=True)):
            break
    return tuple(map(tuple, done))


def _best(scores: Array, end: int, beams: int) -> tuple[Indices, Indices, Array]:
    """(G, B, V) -> parents, tokens and log-probabilities (G, beams) of the best branches that go on, best first."""
    groups, _, vocabulary = scores.shape
    going = scores.copy()
    going[:, :, end] = -np.inf
    flat = going.reshape(groups, -1)
    width = min(beams, flat.shape[1])
    top = np.argpartition(-flat, width - 1, axis=1)[:, :width]
    top = np.take_along_axis(top, np.argsort(-np.take_along_axis(flat, top, axis=1), axis=1, kind="stable"), axis=1)
    return top // vocabulary, top % vocabulary, np.take_along_axis(flat, top, axis=1)
