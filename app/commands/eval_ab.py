"""`eval ab`: the two arms of an experiment, compared by conversation."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from app.database import Database
from app.display import note, show, show_table
from app.door import emit
from app.experiment import Exposure, experiments, exposures
from app.settings import Settings
from eval.clustered import LEAST_CLUSTERS, ClusteredTest, compare_clustered
from eval.statistics import holm
from indexer.errors import ConfigError

LEVEL = 0.05
MISMATCH_LEVEL = 0.001  # of the ratio of the arms' sizes (Fabijan et al. 2019); it is looked at often
# What is compared: a value of each answer that has one.
MEASURES: dict[str, tuple[str, Callable[[Exposure], float | None]]] = {
    "liked": ("thumbs up, of thumbs", lambda one: float(one.thumb == "up") if one.thumb else None),
    "judged": ("answers with a thumb", lambda one: float(bool(one.thumb))),
    "abstained": ("answers that declined", lambda one: float(one.abstained)),
    "latency_ms": ("milliseconds to the whole answer", lambda one: one.total_ms),
}


def run_ab(settings: Settings, name: str | None, as_json: bool) -> None:
    """Say what the arms were like and whether they differ by more than chance."""
    database = Database(settings.home)
    known = experiments(database)
    name = name or settings.experiment.name or (known[-1] if known else "")
    if name not in known:
        there = f"There are: {', '.join(known)}." if known else "Set experiment.name and serve; see docs/feedback.md."
        raise ConfigError(f"No answer was given in an experiment{f' {name}' if name else ''}.", there)
    found = exposures(database, name)
    arms = {arm: [one for one in found if one.arm == arm] for arm in ("a", "b")}
    tests = {
        measure: compare_clustered(_values(arms["a"], value), _values(arms["b"], value))
        for measure, (_, value) in MEASURES.items()
    }
    adjusted = holm({measure: test.p for measure, test in tests.items() if test.p is not None})
    told = {
        "experiment": name,
        "arms": {arm: _described(ones) for arm, ones in arms.items()},
        "measures": {
            measure: {**asdict(test), "p_holm": adjusted.get(measure), "verdict": _verdict(test, adjusted.get(measure))}
            for measure, test in tests.items()
        },
        "warnings": _warnings(settings, name, found, arms),
    }
    return emit(told) if as_json else _show(told)


def _values(ones: Sequence[Exposure], value: Callable[[Exposure], float | None]) -> list[tuple[str, float]]:
    return [(one.unit, number) for one in ones if (number := value(one)) is not None]


def _described(ones: Sequence[Exposure]) -> dict[str, Any]:
    times = sorted(one.total_ms for one in ones)
    return {
        "conversations": len({one.unit for one in ones}),
        "answers": len(ones),
        "up": sum(one.thumb == "up" for one in ones),
        "down": sum(one.thumb == "down" for one in ones),
        "abstained": sum(one.abstained for one in ones),
        "p50_ms": median(times) if times else None,
        "p95_ms": times[math.ceil(0.95 * len(times)) - 1] if times else None,
    }


def _verdict(test: ClusteredTest, p: float | None) -> str:
    if p is None or test.p is None:
        return "not enough data"
    return "different" if p < LEVEL else "no difference shown"


def _warnings(settings: Settings, name: str, found: Sequence[Exposure], arms: dict[str, list[Exposure]]) -> list[str]:
    from scipy.stats import binomtest

    warnings = []
    if len({one.definition for one in found}) > 1:
        warnings.append("Share or overrides were changed under way: what is compared is a mixture. Use another name.")
    in_b, both = len({one.unit for one in arms["b"]}), len({one.unit for one in found})
    section = settings.experiment
    if section.name == name and 0 < section.share < 1:
        p = float(binomtest(in_b, both, section.share).pvalue)
        if p < MISMATCH_LEVEL:
            warnings.append(
                f"{in_b:,} of {both:,} conversations are in arm b, and {section.share:.0%} should be (p {p:.2g}): "
                "one arm loses answers, so the measures cannot be trusted."
            )
    return warnings


def _show(told: dict[str, Any]) -> None:
    show(f"Experiment {told['experiment']}", "bold")
    columns = ("conversations", "answers", "up", "down", "abstained", "p50_ms", "p95_ms")
    show_table(
        ("arm", *(column.replace("_", " ") for column in columns)),
        [(arm, *(_rounded(figures[column]) for column in columns)) for arm, figures in told["arms"].items()],
    )
    show()
    show_table(
        ("measure", "of", "conversations", "a", "b", "b - a", "95% interval", "p (Holm)", "detectable", "verdict"),
        [(measure, MEASURES[measure][0], *_told(test)) for measure, test in told["measures"].items()],
    )
    if any(test["p"] is None for test in told["measures"].values()):
        show(f"\nNot enough data: a measure needs {LEAST_CLUSTERS} conversations with such an answer in each arm.")
    show("\nBy conversation, not by answer; p is for one look at the end, not for one every day.")
    for warning in told["warnings"]:
        note(warning)


def _told(test: dict[str, Any]) -> tuple[str, ...]:
    interval = test["ci95"]
    return (
        f"{test['clusters_a']:,} + {test['clusters_b']:,}",
        _number(test["mean_a"]),
        _number(test["mean_b"]),
        _number(test["difference"], "+"),
        f"{_number(interval[0], '+')} to {_number(interval[1], '+')}" if interval else "-",
        "-" if test["p_holm"] is None else f"{test['p_holm']:.4f}",
        _number(test["detectable"]),
        test["verdict"],
    )


def _number(value: float | None, sign: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:{sign},.0f}" if abs(value) >= 10 else f"{value:{sign}.3f}"


def _rounded(value: float | None) -> int | str:
    return "-" if value is None else round(value)
