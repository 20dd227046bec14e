"""Which passage's span is the answer, and whether there is one at all."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from indexer.errors import ModelError

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Span:
    """A span of one passage, with log-probabilities in nats."""

    row: int  # which of the passages
    start: int  # characters of the passage
    end: int
    log_p: float  # of these words and then the end, given question and passage
    tokens: int

    @property
    def log_p_token(self) -> float:
        """Log-probability per token: long answers have a chance. The end mark is a token too."""
        return self.log_p / (self.tokens + 1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the reader thinks of each passage, and its best spans, most probable first."""

    log_decline: tuple[float, ...]  # per passage: the answer is not in it
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that a choice rests on. `coverages`: the share of the question's words that each passage has."""

    texts: tuple[str, ...]
    coverages: tuple[float, ...]
    verdict: Verdict
    prompt_tokens: int = 0  # that the reader read

    def words(self, span: Span) -> str:
        """The words of a span."""
        return self.texts[span.row][span.start : span.end]


@dataclass(frozen=True, slots=True)
class ChoiceSettings:
    """Weights of what speaks for an answer. An adapter brings its own, fitted by `footnote eval calibrate --reader`."""

    coverage_weight: float = 4.0  # of the share of the question's words that a passage has
    doubt_weight: float = 0.5  # of the reader's log-probability that the passage holds an answer at all
    decline_bias: float = 2.4  # log-odds that there is no answer, from the three signs of `decline_signs`
    decline_coverage: float = -3.2
    decline_reader: float = 0.35
    decline_span: float = 0.0
    decline_above: float = 0.65  # decline when it is more probable than this that there is no answer


def changed(settings: ChoiceSettings, values: Mapping[str, Any], where: str) -> ChoiceSettings:
    """Put other weights in place of some.

    Raises:
        ModelError: one is unknown or no number.
    """
    known = asdict(settings)
    wrong = [name for name, value in values.items() if name not in known or not isinstance(value, int | float)]
    if wrong:
        raise ModelError(
            f"{where}: {wrong[0]} is no weight of a choice, or no number.", f"Known are {', '.join(known)}."
        )
    return replace(settings, **{name: float(value) for name, value in values.items()})


def choose(look: Look, settings: ChoiceSettings) -> Span | None:
    """Pick the span that answers, or None to decline."""
    span = best_span(look, settings)
    if span is None or decline_probability(decline_signs(look, span), settings) > settings.decline_above:
        return None
    return span


def best_span(look: Look, settings: ChoiceSettings) -> Span | None:
    """Pick the span that answers if anything does.

    Spans compete across passages by their probability per token, so that long answers have a chance, times how much
    the passage speaks of what is asked: a small reader alone is too easily taken in by a passage about something else.
    Passages that give the same words add up, as in RAG-Sequence (Lewis et al. 2020, https://arxiv.org/abs/2005.11401).
    """
    mass: dict[str, float] = {}
    best: dict[str, tuple[float, Span]] = {}
    for span in look.verdict.spans:
        words = " ".join(_WORD.findall(look.words(span).lower()))
        part = math.exp(_score(span, look, settings))
        mass[words] = mass.get(words, 0.0) + part
        if words not in best or part > best[words][0]:
            best[words] = (part, span)
    return best[max(mass, key=lambda words: (mass[words], words))][1] if mass else None


def decline_signs(look: Look, span: Span) -> tuple[float, float, float]:
    """Coverage, the reader's log-probability of declining, and log-probability per token, where a span stands."""
    return look.coverages[span.row], look.verdict.log_decline[span.row], span.log_p_token


def decline_probability(signs: tuple[float, float, float], settings: ChoiceSettings) -> float:
    """How probable it is that the passage which looks best does not hold the answer."""
    coverage, log_decline, log_p_token = signs
    odds = settings.decline_bias + settings.decline_coverage * coverage
    odds += settings.decline_reader * log_decline + settings.decline_span * log_p_token
    return 1 / (1 + math.exp(-odds))


def _score(span: Span, look: Look, settings: ChoiceSettings) -> float:
    log_answer = math.log(max(1e-4, -math.expm1(min(0.0, look.verdict.log_decline[span.row]))))
    spoken = settings.coverage_weight * look.coverages[span.row]
    return span.log_p_token + spoken + settings.doubt_weight * log_answer
