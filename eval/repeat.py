"""How much a judge's verdict on the same pair varies when it is asked again, with sampling and another seed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, stdev
from typing import Any

from eval.judge import Judge, Pair, Verdict
from eval.statistics import bootstrap_interval


@dataclass(frozen=True, slots=True)
class RepeatedJudge:
    """A judge that draws its words under a seed. `judge` must have been built with this temperature and seed."""

    judge: Judge
    temperature: float
    seed: int

    @property
    def name(self) -> str:
        """The judge and its sampling."""
        return f"{self.judge.name}, temperature {self.temperature:g}, seed {self.seed}"

    def compare(self, pair: Pair) -> Verdict:
        """Compare two answers."""
        return self.judge.compare(pair)


def variation(repeats: Sequence[Mapping[str, Verdict]]) -> dict[str, Any] | None:
    """What repeats of one judge, each a verdict by pair, say on the pairs that all of them judged.

    Returns:
        {"repeats", "n", "sd", "flipped", "disagreement"}, the last three {"value", "ci95"} over pairs: the mean
        standard deviation of the judge's value, the share of pairs with more than one preference, and how often two
        repeats prefer differently. None for fewer than two repeats, or without such a pair.
    """
    if len(repeats) < 2:
        return None
    common = [id_ for id_ in repeats[0] if all(id_ in repeat for repeat in repeats)]
    if not common:
        return None
    verdicts = [[repeat[id_] for repeat in repeats] for id_ in common]

    def figure(measure: Callable[[Sequence[Verdict]], float]) -> dict[str, Any]:
        values = [measure(same) for same in verdicts]
        return {"value": round(fmean(values), 4), "ci95": [round(end, 4) for end in bootstrap_interval(values)]}

    return {
        "repeats": len(repeats),
        "n": len(common),
        "sd": figure(lambda same: stdev(verdict.value for verdict in same)),
        "flipped": figure(lambda same: float(len({verdict.preference for verdict in same}) > 1)),
        "disagreement": figure(
            lambda same: fmean(float(a.preference != b.preference) for a, b in combinations(same, 2))
        ),
    }
