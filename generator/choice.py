"""Which passage's span is the answer, and whether there is one at all."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from generator.reading import Reading

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Span:
    """A span of one passage, with log-probabilities in nats."""

    row: int  # which of the passages
    start: int  # characters of the passage
    end: int
    log_p: float  # of these words and then the end, given question and passage
    tokens: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the reader thinks of each passage, and its best spans, most probable first."""

    log_decline: tuple[float, ...]  # per passage: the answer is not in it
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class ChoiceSettings:
    """Fitted on held-out training questions with BM25's passages: see docs/decisions.md."""

    rank_decay: float = 0.8  # prior odds of one passage to the one ranked before it
    decline_above: float = 0.5  # decline when the reader is surer than this that no passage holds the answer


def choose(verdict: Verdict, readings: Sequence[Reading], settings: ChoiceSettings) -> Span | None:
    """Pick the answer as RAG-Sequence does, or None to decline.

    Each answer gets the sum over the passages of p(passage) p(answer | question, passage), where the words count and
    not the case they are written in (Lewis et al. 2020, https://arxiv.org/abs/2005.11401). The span that is returned
    is the one that brought the most to its answer's sum.
    """
    if not verdict.spans or decline_probability(verdict) > settings.decline_above:
        return None
    mass: dict[str, float] = {}
    best: dict[str, tuple[float, Span]] = {}
    for span in verdict.spans:
        words = " ".join(_WORD.findall(readings[span.row].text[span.start : span.end].lower()))
        part = settings.rank_decay**span.row * math.exp(span.log_p)
        mass[words] = mass.get(words, 0.0) + part
        if words not in best or part > best[words][0]:
            best[words] = (part, span)
    return best[max(mass, key=lambda words: (mass[words], words))][1]


def decline_probability(verdict: Verdict) -> float:
    """How sure the reader is that none of the passages holds the answer: that of the passage it doubts least."""
    return math.exp(min(verdict.log_decline, default=0.0))
