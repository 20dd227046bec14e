"""Trying many settings: the weaker half is dropped on few questions, the stronger are measured on all of them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from eval.statistics import bootstrap_interval, compare_paired, holm
from indexer.errors import ConfigError

FIRST_RUNG = 50  # questions: fewer drop good settings by chance
Trial = Mapping[str, object]  # setting -> value; empty are the present ones


@dataclass(frozen=True, slots=True)
class Measured:
    """What a trial showed on some questions."""

    scores: Mapping[str, float]  # question id -> value of the metric
    p50_ms: float
    index_bytes: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A trial that was measured on all questions."""

    trial: Trial
    mean: float
    ci95: tuple[float, float]
    behind: float  # the best mean minus this one, on the same questions
    p_holm: float  # of that difference
    p50_ms: float
    index_bytes: int
    pareto: bool  # nothing else is at least as good, fast and small, and better in one of these


@dataclass(frozen=True, slots=True)
class Sweep:
    """The standings, best first, and those that were dropped with how many questions it took."""

    standings: tuple[Standing, ...]
    dropped: tuple[tuple[Trial, int], ...]
    questions: int


def sweep(
    trials: Sequence[Trial], questions: int, measure: Callable[[Trial, int], Measured], first: int = FIRST_RUNG
) -> Sweep:
    """Measure trials by successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943).

    `measure(trial, n)` measures a trial on n of the questions, the same for every trial, so that all differences are
    paired. Each rung doubles n and keeps the better half; the first trial, the present settings, is never dropped.

    Raises:
        ConfigError: there is nothing to try.
    """
    if len(trials) < 2:
        raise ConfigError("There is nothing to compare with the present settings.", "Give values to --try.")
    alive, dropped = list(trials), []
    count = min(questions, first)
    while count < questions and len(alive) > 2:
        means = [fmean(measure(trial, count).scores.values()) for trial in alive]
        order = sorted(range(1, len(alive)), key=lambda place: (-means[place], place))
        kept = sorted([0, *order[: math.ceil(len(order) / 2)]])
        dropped += [(alive[place], count) for place in range(len(alive)) if place not in kept]
        alive = [alive[place] for place in kept]
        count = min(questions, count * 2)
    measured = [(trial, measure(trial, questions)) for trial in alive]
    return Sweep(_standings(measured), tuple(dropped), questions)


def _standings(measured: Sequence[tuple[Trial, Measured]]) -> tuple[Standing, ...]:
    means = [fmean(m.scores.values()) for _, m in measured]
    best = measured[means.index(max(means))][1]
    ids = list(best.scores)
    values = [[m.scores[id_] for id_ in ids] for _, m in measured]
    tests = [compare_paired(own, [best.scores[id_] for id_ in ids]) for own in values]
    adjusted = holm({str(place): test.p for place, test in enumerate(tests) if measured[place][1] is not best})
    standings = [
        Standing(
            trial,
            mean,
            bootstrap_interval(own),
            test.difference,
            adjusted.get(str(place), 1.0),
            m.p50_ms,
            m.index_bytes,
            not any(_beats(other, means[at], m, mean) for at, (_, other) in enumerate(measured)),
        )
        for place, ((trial, m), mean, own, test) in enumerate(zip(measured, means, values, tests, strict=True))
    ]
    return tuple(sorted(standings, key=lambda standing: -standing.mean))


def _beats(a: Measured, mean_a: float, b: Measured, mean_b: float) -> bool:
    """Whether a is at least as good, fast and small as b, and better in one of these."""
    ours, theirs = (mean_a, -a.p50_ms, -a.index_bytes), (mean_b, -b.p50_ms, -b.index_bytes)
    return all(x >= y for x, y in zip(ours, theirs, strict=True)) and ours != theirs
