"""Two runs' answers against each other, by a judge."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.agreement import RESAMPLES
from eval.human import Compared
from eval.judge import Judge, Pair, Verdict
from eval.judging import OnProgress, as_verdict, judge_pairs
from eval.run import Run
from eval.statistics import logistic_regression
from generator.abstain import DECLINE
from generator.citations import without_markers
from indexer.errors import DatasetError

_SHRINKAGE = 0.05  # a little: verdicts may all be alike


@dataclass(frozen=True, slots=True)
class Duel:
    """How often run b's answers are preferred to run a's; a tie is half a win."""

    judge: str
    n: int
    wins: int
    losses: int
    ties: int
    win_rate: float
    ci95: tuple[float, float]
    length_controlled: float  # the win rate if both answers were as long
    length_controlled_ci95: tuple[float, float]
    consistency: float | None  # share of pairs judged alike in both orders
    errors: int


def duel(
    a: Run,
    b: Run,
    judge: Judge,
    home: Path,
    sampling: Mapping[str, Any] | None = None,
    *,
    concurrency: int = 1,
    on_progress: OnProgress | None = None,
) -> Duel:
    """Let a judge compare the answers of two runs wherever a reference is known and both answered something.

    The verdicts are kept in a run, with the judge's `sampling` and what else decides them; after a kill, the same call
    goes on with the pairs that are missing.

    Raises:
        DatasetError: the runs hold no answers, or none to the same questions.
    """
    pairs = [Compared(pair, a.id, b.id, (0,)) for pair in answer_pairs(a, b)]
    if not pairs:
        raise DatasetError(f"{a.id} and {b.id} share no answered question with a reference.", "Compare other runs.")
    identity = {"a": a.id, "b": b.id, **(sampling or {})}
    run = judge_pairs([judge], pairs, home, str(a.facts["dataset"]), identity, concurrency, on_progress)
    by_id = {item.pair.id: item for item in pairs}
    judged = [(by_id[r.case_id], as_verdict(r.outcome)) for r in run.records if r.outcome is not None]
    errors = sum(bool(record.error) for record in run.records)
    if not judged:
        raise DatasetError(f"{judge.name} failed on every pair: {run.records[0].message}", "Repair it and try again.")
    return _duel(judge.name, judged, errors)


def answer_pairs(a: Run, b: Run) -> list[Pair]:
    """Answers to the same questions; a declined question is answered by the sentence that declines."""
    first, second = _answers(a), _answers(b)
    return [
        Pair(id_, case.question, " / ".join(case.answers), first[id_], second[id_])
        for id_, case in a.cases.items()
        if case.answers and id_ in first and id_ in second
    ]


def length_controlled_win_rate(wins: Sequence[float], longer_by: Sequence[float]) -> float:
    """Win rate at equal length: logistic regression of the verdicts on tanh of the length difference over its spread.

    AlpacaEval 2's control (Dubois et al. 2024, arXiv:2404.04475), without its terms for single instructions. `wins` are
    1, 0.5 or 0 for b, `longer_by` how much longer b's answer is.
    """
    won, length = np.asarray(wins, dtype=np.float64), np.asarray(longer_by, dtype=np.float64)
    pushed = np.tanh(length / (float(length.std()) or 1.0))
    base = logistic_regression(np.column_stack([np.ones_like(pushed), pushed]), won, _SHRINKAGE)[0]
    return float(1 / (1 + np.exp(-base)))


def _duel(name: str, judged: Sequence[tuple[Compared, Verdict]], errors: int) -> Duel:
    wins = [(verdict.preference + 1) / 2 for _, verdict in judged]
    longer = [float(compared.b_is_longer_by) for compared, _ in judged]
    asked = [verdict.consistent for _, verdict in judged if verdict.consistent is not None]
    return Duel(
        judge=name,
        n=len(judged),
        wins=wins.count(1.0),
        losses=wins.count(0.0),
        ties=wins.count(0.5),
        win_rate=sum(wins) / len(wins),
        ci95=_interval(lambda rows: float(np.mean([wins[row] for row in rows])), len(wins)),
        length_controlled=length_controlled_win_rate(wins, longer),
        length_controlled_ci95=_interval(
            lambda rows: length_controlled_win_rate([wins[row] for row in rows], [longer[row] for row in rows]),
            len(wins),
            RESAMPLES // 5,
        ),
        consistency=sum(asked) / len(asked) if asked else None,
        errors=errors,
    )


def _interval(measure: Callable[[Sequence[int]], float], count: int, resamples: int = RESAMPLES) -> tuple[float, float]:
    random = np.random.default_rng(0)
    values = [measure(random.integers(0, count, count).tolist()) for _ in range(resamples)]
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _answers(run: Run) -> dict[str, str]:
    found = {}
    for record in run.records:
        outcome = record.outcome
        if outcome is not None and "answer" in outcome:
            found[record.case_id] = DECLINE if outcome["abstained"] else without_markers(outcome["answer"])
    return found
