"""Answers of two runs against each other: who wins, and whether length did it."""

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from eval.dataset import Case
from eval.duel import answer_pairs, duel, length_controlled_win_rate
from eval.judge import Pair, RuleJudge, Verdict
from eval.outcome import as_outcome
from eval.run import Record, Run, load_run, runs_folder, writing
from generator.abstain import DECLINE
from generator.answer import Answer
from indexer.errors import DatasetError, ModelError

CASES = [Case(f"q{n}", f"question {n}?", answers=("one", "1")) for n in range(6)] + [Case("open", "and this?")]


def answers(home: Path, said: Mapping[str, str | None], name: str) -> Run:
    with writing(runs_folder(home), {"kind": "answers", "dataset": "tiny", "model": name}, {}, CASES) as run:
        for place, case in enumerate(CASES):
            text = said.get(case.id)
            if text is None:
                run.add(Record(case.id, place, error="ModelError", message="down"))
            else:
                outcome = as_outcome(Answer(text, (), (), text == "no", case.question))
                run.add(Record(case.id, place, outcome=outcome))
        run.finish({})
        path = run.path
    return load_run(home, str(path))


def test_pairs_are_of_answers_to_the_same_question(tmp_path: Path) -> None:
    a = answers(tmp_path, {"q0": "one [1]", "q1": "no", "open": "x"}, "a")
    b = answers(tmp_path, {"q0": "two", "q1": "one", "q2": "one", "open": "y"}, "b")
    assert answer_pairs(a, b) == [
        Pair("q0", "question 0?", "one / 1", "one", "two"),
        Pair("q1", "question 1?", "one / 1", DECLINE, "one"),
    ]


def test_wins_losses_and_ties(tmp_path: Path) -> None:
    a = answers(tmp_path, {"q0": "two", "q1": "two", "q2": "one", "q3": "one"}, "a")
    b = answers(tmp_path, {"q0": "one", "q1": "one", "q2": "two", "q3": "one"}, "b")
    judge = RuleJudge("exact", lambda answer, reference: float(answer == "one"))
    result = duel(a, b, judge, tmp_path)
    assert (result.n, result.wins, result.losses, result.ties, result.errors) == (4, 2, 1, 1, 0)
    assert result.win_rate == pytest.approx((2 + 0.5) / 4)
    assert result.ci95[0] < result.win_rate < result.ci95[1]
    assert result.consistency is None


def test_a_judge_that_fails_is_counted_and_tried_again(tmp_path: Path) -> None:
    a, b = (answers(tmp_path, {"q0": "one", "q1": "two"}, name) for name in "ab")
    down = {"two"}

    class Shaky:
        name = "shaky"

        def compare(self, pair: Pair) -> Verdict:
            if pair.a in down:
                raise ModelError("down")
            return Verdict(1, 1.0, True)

    assert (duel(a, b, Shaky(), tmp_path).errors, duel(a, b, Shaky(), tmp_path).n) == (1, 1)
    down.clear()
    again = duel(a, b, Shaky(), tmp_path)
    assert (again.errors, again.n, again.consistency) == (0, 2, 1.0)
    down |= {"one", "two"}
    other = answers(tmp_path, {"q0": "one", "q1": "two"}, "c")
    with pytest.raises(DatasetError, match="failed on every pair: down"):
        duel(a, other, Shaky(), tmp_path)


def test_runs_without_common_answers_are_refused(tmp_path: Path) -> None:
    a, b = answers(tmp_path, {"q0": "x"}, "a"), answers(tmp_path, {"q1": "x"}, "b")
    with pytest.raises(DatasetError, match="share no answered question"):
        duel(a, b, RuleJudge("none", lambda answer, reference: 0.0), tmp_path)


def test_length_that_does_nothing_changes_nothing() -> None:
    draw = random.Random(1)
    wins = [float(draw.random() < 0.7) for _ in range(1000)]
    longer = [draw.gauss(0, 20) for _ in wins]
    assert length_controlled_win_rate(wins, longer) == pytest.approx(sum(wins) / len(wins), abs=0.01)


def test_wins_by_length_alone_are_taken_out() -> None:
    draw = random.Random(2)
    longer = [draw.gauss(15, 20) for _ in range(1000)]  # b is mostly longer
    wins = [float(length > 0) for length in longer]
    assert sum(wins) / len(wins) > 0.75
    assert length_controlled_win_rate(wins, longer) == pytest.approx(0.5, abs=0.06)


def test_verdicts_that_are_all_alike_stay_finite() -> None:
    assert 0.8 < length_controlled_win_rate([1.0] * 50, [0.0] * 50) < 1
    assert length_controlled_win_rate([0.5] * 10, [3.0] * 10) == pytest.approx(0.5)
