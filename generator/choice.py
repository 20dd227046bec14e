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
    """Weights of what speaks for an answer. Fitted on held-out training questions: see docs/decisions.md."""

    coverage_weight: float = 4.0  # of the share of the question's words that a passage has
    doubt_weight: float = 0.5  # of the reader's log-probability that the passage holds an answer at all
    decline_bias: float = 2.4  # log-odds that there is no answer, from coverage and the reader's own declining
    decline_coverage: float = -3.2
    decline_reader: float = 0.35
    decline_above: float = 0.65  # decline when it is more probable than this that there is no answer


def choose(
    verdict: Verdict, readings: Sequence[Reading], coverages: Sequence[float], settings: ChoiceSettings
) -> Span | None:
    """Pick the span that answers, or None to decline. `coverages` has one share for each passage.

    Spans compete across passages by their probability per token, so that long answers have a chance, times how much
    the passage speaks of what is asked: a small reader alone is too easily taken in by a passage about something else.
    Passages that give the same words add up, as in RAG-Sequence (Lewis et al. 2020, https://arxiv.org/abs/2005.11401).
    """
    if not verdict.spans:
        return None
    mass: dict[str, float] = {}
    best: dict[str, tuple[float, Span]] = {}
    for span in verdict.spans:
        words = " ".join(_WORD.findall(readings[span.row].text[span.start : span.end].lower()))
        part = math.exp(_score(span, verdict.log_decline[span.row], coverages[span.row], settings))
        mass[words] = mass.get(words, 0.0) + part
        if words not in best or part > best[words][0]:
            best[words] = (part, span)
    span = best[max(mass, key=lambda words: (mass[words], words))][1]
    no_answer = decline_probability(verdict.log_decline[span.row], coverages[span.row], settings)
    return None if no_answer > settings.decline_above else span


def decline_probability(log_decline: float, coverage: float, settings: ChoiceSettings) -> float:
    """How probable it is that the passage which looks best does not hold the answer."""
    odds = settings.decline_bias + settings.decline_coverage * coverage + settings.decline_reader * log_decline
    return 1 / (1 + math.exp(-odds))


def _score(span: Span, log_decline: float, coverage: float, settings: ChoiceSettings) -> float:
    log_answer = math.log(max(1e-4, -math.expm1(min(0.0, log_decline))))
    per_token = span.log_p / (span.tokens + 1)  # the end mark is a token too
    return per_token + settings.coverage_weight * coverage + settings.doubt_weight * log_answer
