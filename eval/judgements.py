"""The judged metrics of a run's answers: taken after them, kept beside them, and tried again where they failed."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from eval.claim_metrics import ClaimJudge, score_claims, subject_of
from eval.dataset import Case
from eval.outcome import as_answer
from eval.run import WASTED, Record, Run, RunWriter
from eval.work import record_each
from generator.usage import Prices, Usage, tallied

OnProgress = Callable[[str, int, int], None]
JUDGEMENTS = "judgements"  # where an outcome keeps them


def judge_answers(
    judge: ClaimJudge,
    cases: Sequence[Case],
    run: RunWriter,
    *,
    concurrency: int = 1,
    on_progress: OnProgress | None = None,
) -> None:
    """Judge the answers that have no judgement yet, or one of which something failed; record each as it ends."""
    by_id = {case.id: case for case in cases}
    answered = [record for record in run.records() if record.outcome is not None]
    todo = [record for record in answered if not _is_judged(record)]
    done = len(answered) - len(todo)
    record_each(
        todo,
        lambda record: _judged(judge, by_id[record.case_id], record),
        run,
        concurrency,
        (lambda more: on_progress("judgements", done + more, len(answered))) if on_progress else None,
    )


def claim_scores(records: Sequence[Record], metrics: Sequence[str]) -> dict[str, dict[str, float]]:
    """Judged metrics by name, then by case."""
    scores: dict[str, dict[str, float]] = {}
    for record in records:
        if record.outcome is not None and JUDGEMENTS in record.outcome:
            for name, value in score_claims(record.outcome[JUDGEMENTS], metrics).items():
                scores.setdefault(name, {})[record.case_id] = round(value, 6)
    return scores


def failures(records: Iterable[Record]) -> dict[str, dict[str, int]]:
    """How many judgements failed: metric -> the error's type -> number."""
    found: dict[str, Counter[str]] = {}
    for record in records:
        for metric, failure in _judgement(record).get("failed", {}).items():
            found.setdefault(metric, Counter())[failure["error"]] += 1
    return {metric: dict(sorted(types.items())) for metric, types in found.items()}


def first_failure(records: Iterable[Record]) -> tuple[str, str] | None:
    """Case and message of the first judgement that failed."""
    for record in records:
        for failure in _judgement(record).get("failed", {}).values():
            return record.case_id, failure["message"]
    return None


def judge_usage(run: Run) -> Usage:
    """What all judges of a run took: of grades, of claims, of pairs of answers, and of calls that failed."""
    total = Usage(**run.facts.get(WASTED, {}))
    for record in run.records:
        outcome = record.outcome or {}
        told = [step["usage"] for step in _judgement(record).get("steps", {}).values()]
        told += [part["usage"] for part in (outcome, outcome.get("judgement") or {}) if part.get("usage")]
        total = sum((Usage(**one) for one in told), total)
    return total


def told_usage(run: Run) -> dict[str, Any] | None:
    """{"calls", "prompt_tokens", "completion_tokens", "cost"}; cost is None without prices, all is without calls."""
    usage = judge_usage(run)
    if not usage.calls:
        return None
    prices = run.facts.get("prices")
    return {**usage.as_json(), "cost": round(Prices(**prices).of(usage), 6) if prices else None}


def _judged(judge: ClaimJudge, case: Case, record: Record) -> Record:
    assert record.outcome is not None
    subject = subject_of(case, as_answer(record.outcome))
    before = record.outcome.get(JUDGEMENTS)
    had = before["steps"] if before else {}
    with tallied() as spent:
        judgement = judge.judge(subject, before)
    taken = (Usage(**step["usage"]) for name, step in judgement["steps"].items() if name not in had)
    wasted = spent.beyond(sum(taken, Usage()))
    return replace(record, outcome={**record.outcome, JUDGEMENTS: judgement}, wasted=wasted)


def _is_judged(record: Record) -> bool:
    judgement = _judgement(record)
    return bool(judgement) and not judgement["failed"]


def _judgement(record: Record) -> Mapping[str, Any]:
    return (record.outcome or {}).get(JUDGEMENTS) or {}
