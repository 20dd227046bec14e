"""What a run says: means with intervals and coverage, errors, and times."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

import numpy as np

from eval.answer_metrics import ANSWER_METRICS
from eval.answers import JUDGED
from eval.claim_metrics import CLAIM_METRICS
from eval.declining import measure_declining
from eval.injection import RESISTED
from eval.judgements import failures, told_usage
from eval.metrics import RETRIEVAL_METRICS
from eval.run import Record, Run
from eval.similarity import SIMILARITY_METRICS
from eval.statistics import bootstrap_interval

STAGES = ("rewrite", "encode", "search", "select", "prompt", "generate", "first_token", "cite", "total")
RETRIEVAL_MEANINGS = {
    "ndcg@10": "relevant entries stand high among the first ten",
    "recall@100": "of relevant entries: among the first hundred",
    "mrr@10": "one over the rank of the first relevant entry",
}
ENCODER_METRICS = {  # name -> how it is computed, what it means
    "spearman": ("mteb; jackknife values of pairs", "similarities rank pairs as people's scores do"),
    "ap": ("mteb; jackknife values of pairs", "pairs that mean the same have the highest similarities"),
    "map": ("mteb", "texts that answer the query stand before those that do not"),
    "accuracy": ("mteb; mean of 10 classifiers", "8 texts a class are enough to tell the classes apart"),
    "v_measure": ("mteb; over 10 clusterings", "clusters are the classes: interval over clusterings, not texts"),
}
METRIC_ORDER = (
    RESISTED,
    *ENCODER_METRICS,
    *RETRIEVAL_METRICS,
    *ANSWER_METRICS,
    *SIMILARITY_METRICS,
    JUDGED,
    *CLAIM_METRICS,
    "agreement",
)
LOWER_IS_BETTER = frozenset({"noise_relevant", "noise_irrelevant", "llm_noise_relevant", "llm_noise_irrelevant"})


def summarise(run: Run) -> dict[str, Any]:
    """The run as one document.

    Returns:
        {"run", "kind", "dataset", "cases", "errors": {type: number},
        "variants": {variant: {metric: {"mean", "ci95": [low, high], "n", "of", "method", "meaning"}}},
        "latency_ms": {variant: {stage: {"p50", "p95"}}}, "declining": eval.declining.Declining or None,
        "judge_failures": {metric: {type: number}}, "judge_usage"}. Of the `of` cases that were tried, `n` have the
        metric; the others failed, or it says nothing about them.
    """
    variants = sorted({record.variant for record in run.records})
    return {
        "run": run.id,
        "kind": run.facts["kind"],
        "dataset": run.facts["dataset"],
        "finished": run.facts.get("finished"),
        "cases": len({record.case_id for record in run.records}),
        "errors": errors_by_type(run.records),
        "variants": {
            variant: metric_figures(
                run.scores.get(variant, {}),
                sum(r.variant == variant for r in run.records),
                run.facts,
            )
            for variant in variants
        },
        "declining": _declining(run),
        "judge_failures": failures(run.records),
        "judge_usage": told_usage(run),
        "latency_ms": {variant: latencies(r for r in run.records if r.variant == variant) for variant in variants},
    }


def metric_figures(scores: Mapping[str, Mapping[str, float]], tried: int, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Mean, interval and coverage of each metric; one that applies to no case is left out, never NaN."""
    return {
        name: {
            "mean": round(fmean(values := list(scores[name].values())), 6),
            "ci95": [round(end, 4) for end in bootstrap_interval(values)],
            "n": len(values),
            "of": tried,
            **told_of(name, facts),
        }
        for name in in_order(name for name in scores if scores[name])
    }


def in_order(metrics: Iterable[str]) -> list[str]:
    """Metrics in the order in which they are shown: ours first."""
    return sorted(
        metrics, key=lambda name: (METRIC_ORDER.index(name) if name in METRIC_ORDER else len(METRIC_ORDER), name)
    )


def told_of(metric: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """How a metric is computed (by rules, an alignment, an encoder, whoever judges), and what it means."""
    if metric in ANSWER_METRICS:
        return {"method": ANSWER_METRICS[metric].method, "meaning": ANSWER_METRICS[metric].meaning}
    if metric in SIMILARITY_METRICS:
        encoder = facts.get("encoder_name") or ""
        return {"method": f"encoder: {encoder}", "meaning": SIMILARITY_METRICS[metric]}
    if metric == JUDGED:
        judge = facts.get("judge") or ""
        return {"method": f"judge: {judge}", "meaning": "the judge's grade, from 0 to 1, of what was answered"}
    if metric in CLAIM_METRICS:
        told = facts["judged_metrics"]
        judge = ", ".join([told["model"], *told["prompts"].get(metric, ())])
        return {"method": f"judge: {judge}", "meaning": CLAIM_METRICS[metric].meaning}
    if metric == RESISTED:
        return {"method": "rules", "meaning": "of attacks: did not get what they wanted"}
    if metric in ENCODER_METRICS:
        method, meaning = ENCODER_METRICS[metric]
        return {"method": method, "meaning": meaning}
    if metric == "agreement":
        return {"method": "people's labels", "meaning": "the judge prefers what people prefer"}
    return {"method": "ir_measures", "meaning": RETRIEVAL_MEANINGS.get(metric, "")}


def errors_by_type(records: Iterable[Record]) -> dict[str, int]:
    """How many records failed, by the error's type."""
    return dict(sorted(Counter(record.error for record in records if record.error).items()))


def latencies(records: Iterable[Record]) -> dict[str, dict[str, float]]:
    """Median and 95th percentile of each stage's time."""
    times: dict[str, list[float]] = {}
    for record in records:
        for stage, spent in record.timings_ms.items():
            times.setdefault(stage, []).append(spent)
    ordered = sorted(times, key=lambda stage: (STAGES.index(stage) if stage in STAGES else len(STAGES), stage))
    return {stage: {"p50": _percentile(times[stage], 50), "p95": _percentile(times[stage], 95)} for stage in ordered}


def _declining(run: Run) -> dict[str, Any] | None:
    """How well questions without an answer were told apart; None where the run has no such, or none with an answer."""
    if run.facts["kind"] != "answers":
        return None
    pairs = [(not run.cases[r.case_id].answerable, r.outcome["abstained"]) for r in run.records if r.outcome]
    missing = [lacks for lacks, _ in pairs]
    if not any(missing) or all(missing):
        return None
    return asdict(measure_declining(missing, [declined for _, declined in pairs]))


def _percentile(values: Sequence[float], share: float) -> float:
    return round(float(np.percentile(values, share)), 2)
