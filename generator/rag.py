"""RAG-Sequence and RAG-Token with the embedded reader (Lewis et al. 2020, https://arxiv.org/abs/2005.11401).

The reader ends its answer before it begins where a passage does not hold one. Most passages do not, so that this empty
answer would win nearly always; whether to decline is decided elsewhere. Here everything is conditional on there being
an answer: a passage weighs what the retriever gives it times the reader's probability that it holds one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from generator.beams import Beam, Indices, beam_search
from generator.forward import Branches, Prefix, walk
from generator.marginal import Array, MarginalSettings, mix, posterior

MAX_TOKENS = 32  # of an answer: with the width of the beam this bounds the time


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer that some passage gave."""

    tokens: tuple[int, ...]
    log_p: float  # marginal over the passages, given that there is an answer
    row: int  # the passage that is most probable now that this is the answer
    log_own: float  # of the answer given that passage alone


@dataclass(frozen=True, slots=True)
class Decoded:
    """What all passages together say."""

    log_decline: tuple[float, ...]  # per passage: the answer is not in it
    candidates: tuple[Candidate, ...]  # most probable first


@torch.inference_mode()
def decode(
    model: Any,
    prefix: Prefix,
    log_passages: Array,
    settings: MarginalSettings,
    end: int,
    max_tokens: int = MAX_TOKENS,
) -> Decoded:
    """Search answers in free words. `log_passages` (Z,) are the retriever's, `end` is the end-of-turn token.

    `prefix` holds the passages as they were read; it is left as it is.
    """
    log_decline = prefix.log_first[:, end].tolist()
    log_holds, log_first = _given_an_answer(prefix.log_first, end)
    prefix = replace(prefix, log_first=log_first)
    log_z = log_passages + log_holds
    log_z = log_z - np.logaddexp.reduce(log_z)
    search = _by_token if settings.mode == "token" else _by_sequence
    tokens, log_p, log_answers = search(model, prefix, log_z, settings, end, max_tokens)
    rows = posterior(log_z, log_answers).argmax(axis=0).tolist()
    found = [
        Candidate(each, float(log_p[h]), row, float(log_answers[row, h] + log_holds[row]))
        for h, (each, row) in enumerate(zip(tokens, rows, strict=True))
    ]
    return Decoded(tuple(log_decline), tuple(sorted(found, key=lambda each: (-each.log_p, each.tokens))))


def _given_an_answer(log_first: Tensor, end: int) -> tuple[Array, Tensor]:
    """(Z, V) -> the log-probability (Z,) that a first token is not the end, and (Z, V) given that it is not."""
    going = log_first.clone()
    going[:, end] = -torch.inf
    log_holds = going.logsumexp(-1, keepdim=True)
    return log_holds[:, 0].double().numpy(), going - log_holds


Found = tuple[list[tuple[int, ...]], Array, Array]  # H answers, their log_p (H,), and given each passage (Z, H)


def _by_sequence(
    model: Any, prefix: Prefix, log_z: Array, settings: MarginalSettings, end: int, max_tokens: int
) -> Found:
    """A beam for each passage; then every answer of any beam is held to all passages, or (fast) to those that gave it.

    Section 2.5: fast decoding takes p(y|x,z) for 0 where y is not in the beam of z.
    """
    step = Branches(model, prefix).grow
    beams = beam_search(prefix.log_first.numpy(), step, end, settings.beams, max_tokens)
    tokens = sorted({beam.tokens for own in beams for beam in own})
    log_answers = _in_beams(beams, tokens)
    if settings.decoding == "thorough":
        _fill(log_answers, model, prefix, tokens, end)
    return tokens, mix(log_z, log_answers), log_answers


def _by_token(model: Any, prefix: Prefix, log_z: Array, settings: MarginalSettings, end: int, max_tokens: int) -> Found:
    """One beam, in which every next token has its marginal probability (section 2.5)."""
    branches, passages = Branches(model, prefix), len(log_z)

    def step(parents: Indices, tokens: Indices) -> Array:
        logs = branches.grow(parents.repeat(passages, axis=0), tokens.repeat(passages, axis=0))
        return mix(log_z, logs)[None]

    (beams,) = beam_search(mix(log_z, prefix.log_first.numpy())[None], step, end, settings.beams, max_tokens)
    tokens = [beam.tokens for beam in beams]
    log_answers = np.full((passages, len(tokens)), -np.inf)
    _fill(log_answers, model, prefix, tokens, end)
    return tokens, np.array([beam.log_p for beam in beams]), log_answers


def _in_beams(beams: Sequence[Sequence[Beam]], tokens: Sequence[tuple[int, ...]]) -> Array:
    found = [{beam.tokens: beam.log_p for beam in own} for own in beams]
    return np.array([[own.get(each, -np.inf) for each in tokens] for own in found])


def _fill(log_answers: Array, model: Any, prefix: Prefix, tokens: Sequence[tuple[int, ...]], end: int) -> None:
    """Put into (Z, H) the log-probability of every answer given every passage where it is not known."""
    missing = np.argwhere(np.isneginf(log_answers)).tolist()
    if missing:
        log_p, log_end = walk(model, prefix, [row for row, _ in missing], [tokens[h] for _, h in missing], end)
        for (row, h), own, ends in zip(missing, log_p, log_end, strict=True):
            log_answers[row, h] = own[-1] + ends[-1]
