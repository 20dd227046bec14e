"""Answers marginalised over the passages that they may rest on (Lewis et al. 2020, https://arxiv.org/abs/2005.11401).

p(z|x) is the retriever's probability of passage z for question x, p(y|x,z) the reader's of answer y given that passage.
Arrays hold natural logarithms; Z counts passages, H answers, N tokens, V the vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from indexer.errors import ConfigError
from retriever.hit import Hit

Array = NDArray[np.floating[Any]]
Mode = Literal["none", "sequence", "token"]
Decoding = Literal["thorough", "fast"]
# The scores of each stage are on another scale. Each temperature makes the right one of five passages most probable,
# over questions that the reader was not trained on (`python -m bench.temperature`). A reranker gives log-odds.
TEMPERATURES = {"bm25": 2.5, "dense": 0.028, "convex": 0.12, "rrf": 0.00066, "rerank": 1.0}


@dataclass(frozen=True, slots=True)
class MarginalSettings:
    """How passages share an answer."""

    mode: Mode = "none"
    decoding: Decoding = "thorough"  # of RAG-Sequence
    temperature: float = 0.0  # of the retriever's scores; 0 takes that of TEMPERATURES
    beams: int = 4

    def __post_init__(self) -> None:
        if self.mode == "token" and self.decoding == "fast":
            raise ConfigError(
                "generator.marginal.decoding = fast is for RAG-Sequence; RAG-Token has one decoding.",
                "Leave the decoding out, or set generator.marginal.mode to sequence.",
            )


def mix(log_passages: Array, logs: Array) -> Array:
    """(Z,) and (Z, ...) -> (...): what is probable given any of the passages."""
    weights = log_passages.reshape(-1, *[1] * (logs.ndim - 1))
    mixed: Array = np.logaddexp.reduce(weights + logs, axis=0)
    return mixed


def sequence_log_p(log_passages: Array, log_tokens: Array) -> Array:
    """RAG-Sequence, (Z,) and (Z, H, N) -> (H,): one passage stands behind the whole answer (section 2.1)."""
    return mix(log_passages, log_tokens.sum(axis=-1))


def token_log_p(log_passages: Array, log_tokens: Array) -> Array:
    """RAG-Token, (Z,) and (Z, H, N) -> (H,): every token may have another passage behind it (section 2.1)."""
    summed: Array = mix(log_passages, log_tokens).sum(axis=-1)
    return summed


def posterior(log_passages: Array, log_answers: Array) -> Array:
    """(Z,) and (Z, H) -> (Z, H): how probable each passage is now that the answer is known. Columns add up to 1.

    An answer that no passage gives tells nothing: its column is the passages' own probabilities.
    """
    joint = log_passages[:, None] + log_answers
    whole = np.logaddexp.reduce(joint, axis=0)
    told = np.isfinite(whole)
    known: Array = np.exp(np.where(told, joint - np.where(told, whole, 0.0), log_passages[:, None]))
    return known


def log_softmax(scores: Array, temperature: float = 1.0) -> Array:
    """(Z,) -> (Z,): p(z|x) is proportional to exp(score / temperature), as the paper's retriever has it."""
    scaled = np.asarray(scores, np.float64) / temperature
    logs: Array = scaled - np.logaddexp.reduce(scaled)
    return logs


def passage_log_p(hits: Sequence[Hit], temperature: float = 0.0) -> Array:
    """(Z,): the retriever's log-probability of each hit, among these hits.

    The scores are those of the last stage that scored all of them: a reranker may have read only some.
    """
    stage, scores = _scores(hits)
    return log_softmax(np.array(scores), temperature or TEMPERATURES.get(stage, 1.0))


def _scores(hits: Sequence[Hit]) -> tuple[str, list[float]]:
    if len({hit.stage for hit in hits}) == 1:
        return hits[0].stage, [hit.score for hit in hits]
    shared = [stage for stage in hits[0].parts if all(stage in hit.parts for hit in hits)]
    if not shared:  # hybrid search without fusion has none; nothing is known then
        return "", [0.0] * len(hits)
    return shared[-1], [hit.parts[shared[-1]].score for hit in hits]
