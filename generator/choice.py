"""Which passage's span is the answer, and whether there is one at all."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from indexer.errors import ModelError

_WORD = re.compile(r"\w+")
SPAN_WEIGHTS = ("word_weight", "span_weight", "coverage_weight", "near_weight", "doubt_weight")
DECLINE_WEIGHTS = ("decline_coverage", "decline_reader", "decline_span", "decline_near")


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
    """Everything that a choice rests on."""

    texts: tuple[str, ...]
    coverages: tuple[float, ...]  # the share of the question's words that each passage has
    verdict: Verdict
    near: tuple[float, ...]  # the share of them in the very sentence that each of the verdict's spans stands in
    prompt_tokens: int = 0  # that the reader read

    def words(self, span: Span) -> str:
        """The words of a span."""
        return self.texts[span.row][span.start : span.end]


@dataclass(frozen=True, slots=True)
class ChoiceSettings:
    """Weights of what speaks for an answer. An adapter brings its own, fitted by `footnote eval calibrate --reader`."""

    word_weight: float = 1.0  # of a span's log-probability per token: long answers have a chance
    span_weight: float = 0.0  # of the log-probability of all of it: they are not preferred either
    coverage_weight: float = 4.0  # of the share of the question's words that its passage has
    near_weight: float = 0.0  # of the share that its own sentence has
    doubt_weight: float = 0.5  # of the reader's log-probability that the passage holds an answer at all
    decline_bias: float = 2.4  # log-odds that there is no answer, from the signs of `decline_signs`
    decline_coverage: float = -3.2
    decline_reader: float = 0.35
    decline_span: float = 0.0
    decline_near: float = 0.0
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

    Spans compete across passages by their probability, times how much the passage and the sentence speak of what is
    asked: a small reader alone is too easily taken in by a passage about something else. Passages that give the same
    words add up, as in RAG-Sequence (Lewis et al. 2020, https://arxiv.org/abs/2005.11401).
    """
    mass: dict[str, float] = {}
    best: dict[str, tuple[float, Span]] = {}
    weights = span_weights(settings)
    for span, signs in zip(look.verdict.spans, span_signs(look), strict=True):
        words = " ".join(_WORD.findall(look.words(span).lower()))
        part = math.exp(sum(weight * sign for weight, sign in zip(weights, signs, strict=True)))
        mass[words] = mass.get(words, 0.0) + part
        if words not in best or part > best[words][0]:
            best[words] = (part, span)
    return best[max(mass, key=lambda words: (mass[words], words))][1] if mass else None


def span_signs(look: Look) -> list[tuple[float, ...]]:
    """What speaks for each span, in the order of `SPAN_WEIGHTS`."""
    doubts = [math.log(max(1e-4, -math.expm1(min(0.0, decline)))) for decline in look.verdict.log_decline]
    return [
        (span.log_p_token, span.log_p, look.coverages[span.row], near, doubts[span.row])
        for span, near in zip(look.verdict.spans, look.near, strict=True)
    ]


def span_weights(settings: ChoiceSettings) -> tuple[float, ...]:
    """The weight of each of `span_signs`."""
    return tuple(getattr(settings, name) for name in SPAN_WEIGHTS)


def decline_signs(look: Look, span: Span) -> tuple[float, ...]:
    """What a span says of whether there is an answer, in the order of `DECLINE_WEIGHTS`."""
    near = look.near[look.verdict.spans.index(span)]
    return look.coverages[span.row], look.verdict.log_decline[span.row], span.log_p_token, near


def decline_probability(signs: tuple[float, ...], settings: ChoiceSettings) -> float:
    """How probable it is that the passage which looks best does not hold the answer."""
    weights = (getattr(settings, name) for name in DECLINE_WEIGHTS)
    odds = settings.decline_bias + sum(weight * sign for weight, sign in zip(weights, signs, strict=True))
    return 1 / (1 + math.exp(-odds))
