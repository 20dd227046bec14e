"""Two runs on the same cases: which metrics moved, whether that is more than chance, and which cases moved most."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from eval.answers import JUDGED
from eval.claim_metrics import CLAIM_METRICS, needs_encoder
from eval.run import Run
from eval.similarity import SIMILARITY_METRICS
from eval.statistics import compare_paired, holm
from eval.summary import LOWER_IS_BETTER, in_order
from indexer.errors import DatasetError

MOVED = 10  # cases shown for each metric


def compare_runs(a: Run, b: Run, *, variant_a: str | None = None, variant_b: str | None = None) -> dict[str, Any]:
    """Compare run `b` with run `a`, metric by metric, on the cases that both have.

    A variant is a retrieval run's search mode; None compares those that both have, or the only one of each.

    Returns:
        {"a", "b", "comparisons": [{"variants": [a, b], "metrics": {metric: statistics.PairedTest's fields and
        "p_holm"}, "moved": {metric: [{"case", "a", "b"}]}, "only_a", "only_b", "unlike"}]}. `p_holm` allows for having
        looked at all metrics of a comparison; "only_a" is the number of a run's values that the other does not have;
        "unlike" are metrics of both that were not compared, because another judge or encoder gave them.

    Raises:
        DatasetError: the runs are of different data or kinds, or have no case or variant in common.
    """
    for what in ("kind", "dataset_sha256"):
        if a.facts.get(what) != b.facts.get(what):
            raise DatasetError(
                f"{a.id} and {b.id} differ in their {what.removesuffix('_sha256')} and cannot be paired.",
                "Compare two runs of the same command on the same data.",
            )
    pairs = _variants(a, b, variant_a, variant_b)
    return {"a": a.id, "b": b.id, "comparisons": [_compare(a, b, *pair) for pair in pairs]}


def _variants(a: Run, b: Run, variant_a: str | None, variant_b: str | None) -> list[tuple[str, str]]:
    for run, variant in ((a, variant_a), (b, variant_b)):
        if variant is not None and variant not in run.scores:
            raise DatasetError(f"{run.id} has no {variant}: {', '.join(sorted(run.scores))}.", "Name one of these.")
    if variant_a is not None or variant_b is not None:
        return [(variant_a or _only(a), variant_b or _only(b))]
    common = [variant for variant in a.scores if variant in b.scores]
    return [(variant, variant) for variant in common] or [(_only(a), _only(b))]


def _only(run: Run) -> str:
    if len(run.scores) != 1:
        raise DatasetError(
            f"{run.id} holds {len(run.scores)} variants: {', '.join(sorted(run.scores))}.", "Say which to compare."
        )
    return next(iter(run.scores))


def _compare(a: Run, b: Run, variant_a: str, variant_b: str) -> dict[str, Any]:
    first, second = a.scores[variant_a], b.scores[variant_b]
    tests, moved = {}, {}
    only_a = only_b = 0
    shared = in_order(name for name in first if name in second)
    unlike = [metric for metric in shared if _measured_by(a, metric) != _measured_by(b, metric)]
    for metric in shared:
        if metric in unlike:
            continue
        cases = [case for case in first[metric] if case in second[metric]]
        only_a += len(first[metric]) - len(cases)
        only_b += len(second[metric]) - len(cases)
        if not cases:
            continue
        test = compare_paired([first[metric][c] for c in cases], [second[metric][c] for c in cases])
        tests[metric] = replace(test, wins=test.losses, losses=test.wins) if metric in LOWER_IS_BETTER else test
        moved[metric] = _moved(cases, first[metric], second[metric])
    if not tests:
        raise DatasetError(f"{a.id} and {b.id} have no scored case in common.", "Compare runs on the same questions.")
    adjusted = holm({metric: test.p for metric, test in tests.items()})
    metrics = {metric: {**_finite(asdict(test)), "p_holm": adjusted[metric]} for metric, test in tests.items()}
    return {
        "variants": [variant_a, variant_b],
        "metrics": metrics,
        "moved": moved,
        "only_a": only_a,
        "only_b": only_b,
        "unlike": unlike,
    }


def _measured_by(run: Run, metric: str) -> Any:
    """What has to be the same for values of two runs to mean the same; None where rules alone measure."""
    if metric == JUDGED:
        return run.facts.get("judge")
    if metric in SIMILARITY_METRICS:
        return run.facts.get("encoder")
    if metric in CLAIM_METRICS:
        told = run.facts["judged_metrics"]
        return told["model"], told["prompts"].get(metric), told["encoder"] if needs_encoder(metric) else None
    return None


def _moved(cases: Sequence[str], a: Mapping[str, float], b: Mapping[str, float]) -> list[dict[str, Any]]:
    by_change = sorted((case for case in cases if a[case] != b[case]), key=lambda case: -abs(b[case] - a[case]))
    return [{"case": case, "a": a[case], "b": b[case]} for case in by_change[:MOVED]]


def _finite(fields: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no infinity: one case detects no difference at all."""
    return {name: None if value == float("inf") else value for name, value in fields.items()}
