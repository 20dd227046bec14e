"""Measuring judges: every verdict kept in a run, and what the verdicts say beside those of people."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eval.agreement import agreement, as_json, between_people, is_trusted
from eval.dataset import Case
from eval.human import Compared
from eval.judge import Judge, Verdict
from eval.repeat import RepeatedJudge, variation
from eval.run import Record, Run, RunWriter, failed_record, list_runs, load_run, runs_folder, writing
from eval.work import record_each
from generator.usage import Prices, tallied
from indexer.errors import FootnoteError

OnProgress = Callable[[str, int, int], None]
KIND = "judge-agreement"


def measure_judges(
    judges: Sequence[Judge],
    compared: Sequence[Compared],
    home: Path,
    dataset: str,
    identity: Mapping[str, Any],
    *,
    own_model: str = "",
    prices: Prices | None = None,
    concurrency: int = 1,
    on_progress: OnProgress | None = None,
) -> tuple[Run, dict[str, Any]]:
    """Let each judge compare every pair, and set its verdicts beside the people's.

    After a kill, the same call goes on with the pairs that are missing.

    Returns:
        The run, and {"pairs", "people": figures, "judges": {name: {"figures", "trusted", "errors"}}, "repeats": {name:
        figures}} with the figures of `agreement.agreement`, and of `repeat.variation` for judges that were repeated. A
        pair on which a judge failed is counted in its errors and is in none of its figures.
    """
    whole = {"kind": KIND, **identity}
    run = judge_pairs(judges, compared, home, dataset, whole, concurrency, on_progress, prices)
    records = run.records
    by_id = {item.pair.id: item for item in compared}
    told = {}
    for judge in judges:
        own = [record for record in records if record.variant == judge.name]
        judged = [(by_id[r.case_id], as_verdict(r.outcome)) for r in own if r.outcome is not None]
        figures = agreement(judged, own_model)
        told[judge.name] = {
            "figures": as_json(figures),
            "trusted": is_trusted(figures),
            "errors": sum(bool(record.error) for record in own),
        }
    people = as_json(between_people(compared))
    return run, {"pairs": len(compared), "people": people, "judges": told, "repeats": _repeats(judges, run)}


def _repeats(judges: Sequence[Judge], run: Run) -> dict[str, Any]:
    """How much repeated judges vary, by the name of the judge."""
    verdicts: dict[str, dict[str, dict[str, Verdict]]] = {}
    for judge in judges:
        if isinstance(judge, RepeatedJudge):
            own = {r.case_id: as_verdict(r.outcome) for r in run.records if r.variant == judge.name and r.outcome}
            verdicts.setdefault(judge.judge.name, {})[judge.name] = own
    return {name: variation(list(repeats.values())) for name, repeats in verdicts.items()}


def judge_pairs(
    judges: Sequence[Judge],
    compared: Sequence[Compared],
    home: Path,
    dataset: str,
    identity: Mapping[str, Any],
    concurrency: int,
    on_progress: OnProgress | None,
    prices: Prices | None = None,
) -> Run:
    """Let each judge compare every pair; every verdict is in the run."""
    whole = {"kind": "duel", "dataset": dataset, "judges": [judge.name for judge in judges], **identity}
    cases = [Case(item.pair.id, item.pair.question, answers=(item.pair.reference,)) for item in compared]
    with writing(runs_folder(home), whole, {}, cases) as run:
        if prices:
            run.note("prices", asdict(prices))
        for judge in judges:
            _judge_missing(judge, compared, run, concurrency, on_progress)
        run.finish(_scores(compared, run.records()) if whole["kind"] == KIND else {})
    return load_run(home, str(run.path))


def measured_kappa(home: Path, judge: str) -> float | None:
    """Kappa of a judge in its latest measurement here; None if it never was measured."""
    from eval.agreement import cohen_kappa

    for name in reversed([name for name in list_runs(home) if f"-{KIND}-" in name]):
        run = load_run(home, name)
        mine = [r for r in run.records if r.variant == judge and r.outcome is not None]
        pairs = [(r.outcome["people"], r.outcome["preference"]) for r in mine if r.outcome is not None]
        if pairs:
            people, verdicts = zip(*pairs, strict=True)
            return cohen_kappa(people, verdicts)
    return None


def as_verdict(outcome: Mapping[str, Any]) -> Verdict:
    """The verdict that was written down."""
    return Verdict(outcome["preference"], outcome["value"], outcome["consistent"], outcome["said"])


def _judge_missing(
    judge: Judge, compared: Sequence[Compared], run: RunWriter, concurrency: int, on_progress: OnProgress | None
) -> None:
    done = {case_id for variant, case_id in run.done() if variant == judge.name}
    todo = [(place, item) for place, item in enumerate(compared) if item.pair.id not in done]
    record_each(
        todo,
        lambda one: _record(judge, *one),
        run,
        concurrency,
        (lambda more: on_progress(judge.name, len(done) + more, len(compared))) if on_progress else None,
    )


def _record(judge: Judge, place: int, compared: Compared) -> Record:
    with tallied() as spent:
        try:
            verdict = judge.compare(compared.pair)
        except FootnoteError as error:
            return failed_record(compared.pair.id, place, error, judge.name, spent.total)
    outcome = {
        "preference": verdict.preference,
        "value": verdict.value,
        "consistent": verdict.consistent,
        "said": dict(verdict.said),
        "people": compared.preference,
        **({"usage": verdict.usage.as_json()} if verdict.usage.calls else {}),
    }
    return Record(compared.pair.id, place, judge.name, outcome)


def _scores(compared: Sequence[Compared], records: Sequence[Record]) -> dict[str, dict[str, dict[str, float]]]:
    people = {item.pair.id: item.preference for item in compared}
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for record in records:
        if record.outcome is not None:
            agreed = float(record.outcome["preference"] == people[record.case_id])
            scores.setdefault(record.variant, {}).setdefault("agreement", {})[record.case_id] = agreed
    return scores
