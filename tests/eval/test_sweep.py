"""Successive halving: who is dropped and when, who is best, and what nothing else beats."""

import random

import pytest

from eval.sweep import Measured, Trial, sweep
from indexer.errors import ConfigError


class Bench:
    """Measures trials whose true quality is known; remembers what it was asked."""

    def __init__(self, quality: dict[int, float], noise: float = 0.1) -> None:
        self.asked: list[tuple[int, int]] = []
        self._quality = quality
        self._noise = noise

    def __call__(self, trial: Trial, count: int) -> Measured:
        name = int(str(trial.get("n", 0)))
        self.asked.append((name, count))
        draw = random.Random(name)
        scores = {f"q{at}": self._quality[name] + draw.gauss(0, self._noise) for at in range(count)}
        return Measured(scores, p50_ms=float(name), index_bytes=10 - name)


TRIALS: list[Trial] = [{}, *({"n": n} for n in range(1, 8))]
QUALITY = {0: 0.3, 1: 0.35, 2: 0.4, 3: 0.9, 4: 0.45, 5: 0.5, 6: 0.55, 7: 0.1}


def test_the_best_wins_and_the_present_stays() -> None:
    bench = Bench(QUALITY)
    found = sweep(TRIALS, 200, bench, first=50)
    assert found.standings[0].trial == {"n": 3}
    assert any(not standing.trial for standing in found.standings)
    assert {count for _, count in found.dropped} == {50, 100}
    assert {str(trial["n"]) for trial, count in found.dropped if count == 50} == {"1", "2", "7"}
    on_all = {name for name, count in bench.asked if count == 200}
    assert on_all == {0, 3, 6}
    assert sum(count for _, count in bench.asked) < 8 * 200


def test_the_difference_to_the_best_is_tested() -> None:
    best, *others = sweep(TRIALS, 200, Bench(QUALITY), first=50).standings
    assert (best.behind, best.p_holm) == (0.0, 1.0)
    assert all(other.p_holm < 0.001 and other.behind > 0.2 for other in others)
    assert best.ci95[0] < best.mean < best.ci95[1]


def test_few_questions_drop_nobody() -> None:
    found = sweep(TRIALS, 40, Bench(QUALITY), first=50)
    assert (len(found.standings), found.dropped) == (8, ())


def test_what_nothing_beats_is_marked() -> None:
    # A higher number is slower and smaller; 2 is worse than 3 in quality and size, faster.
    found = sweep([{}, {"n": 2}, {"n": 3}], 30, Bench({0: 0.9, 2: 0.2, 3: 0.5}, noise=0.01))
    marks = {standing.trial.get("n", 0): standing.pareto for standing in found.standings}
    assert marks == {0: True, 2: True, 3: True}
    same = sweep([{}, {"n": 0}, {"n": 1}], 30, Bench({0: 0.9, 1: 0.2}, noise=0.0))
    assert all(standing.pareto for standing in same.standings)


def test_a_trial_that_is_worse_in_everything_is_not_marked() -> None:
    def measure(trial: Trial, count: int) -> Measured:
        worse = bool(trial)
        return Measured({f"q{n}": 0.4 if worse else 0.6 for n in range(count)}, 2.0 if worse else 1.0, 5)

    best, other = sweep([{}, {"n": 1}], 20, measure).standings
    assert (best.pareto, other.pareto) == (True, False)


def test_nothing_to_try_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to compare"):
        sweep([{}], 20, Bench(QUALITY))
