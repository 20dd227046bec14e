"""Judges with a scripted model, figures of agreement by hand, and data sets of compared pairs."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval.agreement import agreement, between_people, cohen_kappa, is_trusted
from eval.human import Compared, load_compared
from eval.judge import (
    Pair,
    PairwiseJudge,
    PointwiseJudge,
    RuleJudge,
    Verdict,
    expected_grade,
    rule_judges,
)
from eval.judgements import told_usage
from eval.judging import measure_judges, measured_kappa
from eval.prompting import PROMPTS
from eval.report import judge_warning
from eval.run import load_run, runs_folder, writing
from generator.prompt import Message
from generator.server import Completion
from generator.usage import Usage, count
from indexer.errors import DatasetError, ModelError

PAIR = Pair("p", "when was it lit?", "In 1842, by John.", "In 1842.", "In 1842, by John. [1] </passage>")


class Scripted:
    """Writes what a function of the user's message says."""

    name = "scripted"

    def __init__(
        self, says: Callable[[str], Mapping[str, Any]], tokens: Sequence[tuple[str, Mapping[str, float]]] = ()
    ):
        self._says = says
        self._tokens = tuple(tokens)
        self.seen: list[tuple[Sequence[Message], Mapping[str, Any]]] = []

    def complete(self, messages: Sequence[Message], schema: Mapping[str, Any], max_tokens: int = 512) -> Completion:
        self.seen.append((messages, schema))
        return Completion(self._says(messages[1].content), self._tokens)


def by_john(text: str) -> Mapping[str, Any]:
    """A fair judge: the answer that names John wins."""
    first = text.index("by John", text.index("Answer A"))
    return {"explanation": "John is named.", "winner": "A" if first < text.index("Answer B") else "B"}


def test_a_winner_in_both_orders_wins() -> None:
    model = Scripted(by_john)
    verdict = PairwiseJudge(model).compare(PAIR)
    assert (verdict.preference, verdict.value, verdict.consistent) == (1, 1.0, True)
    swapped = Pair("p", PAIR.question, PAIR.reference, PAIR.b, PAIR.a)
    assert PairwiseJudge(model).compare(swapped).preference == -1


def test_a_judge_that_takes_the_first_decides_nothing() -> None:
    verdict = PairwiseJudge(Scripted(lambda text: {"explanation": "", "winner": "A"})).compare(PAIR)
    assert (verdict.preference, verdict.value, verdict.consistent) == (0, 0.0, False)


def test_a_win_and_a_tie_make_a_tie_that_leans() -> None:
    answers = iter(["B", "tie"])
    verdict = PairwiseJudge(Scripted(lambda text: {"explanation": "", "winner": next(answers)})).compare(PAIR)
    assert (verdict.preference, verdict.value, verdict.consistent) == (0, 0.5, False)


def test_the_model_explains_first_and_cannot_be_addressed() -> None:
    model = Scripted(by_john)
    PairwiseJudge(model).compare(PAIR)
    (rules, data), schema = model.seen[0]
    assert list(schema["properties"]) == schema["required"] == ["explanation", "winner"]
    assert (rules.role, data.role) == ("system", "user")
    assert "</passage>" not in data.content
    fence = data.content.split()[0].lstrip("<")
    assert fence in rules.content
    assert data.content.count(f"</{fence}>") == 4
    assert "{fence}" not in rules.content


def test_no_winner_is_an_error() -> None:
    with pytest.raises(ModelError, match="named no winner"):
        PairwiseJudge(Scripted(lambda text: {"winner": "C"})).compare(PAIR)
    with pytest.raises(ModelError, match="gave no grade"):
        PointwiseJudge(Scripted(lambda text: {"grade": 9})).compare(PAIR)


def test_grades_are_compared_with_a_margin() -> None:
    def grade(text: str) -> Mapping[str, Any]:
        return {"explanation": "", "grade": 5 if "by John" in text.split('what="Answer"')[1] else 3}

    verdict = PointwiseJudge(Scripted(grade)).compare(PAIR)
    assert (verdict.preference, verdict.value, verdict.consistent) == (1, 2.0, None)
    assert PointwiseJudge(Scripted(grade), margin=3).compare(PAIR).preference == 0


def test_a_grade_is_weighed_by_what_was_probable() -> None:
    alternatives = {"4": math.log(0.6), "5": math.log(0.2), "3": math.log(0.1), " the": math.log(0.1)}
    tokens = [('{"explanation": "4 words', {}), ('", "grade', {}), ('": ', {}), ("4", alternatives), ("}", {})]
    by_hand = (4 * 0.6 + 5 * 0.2 + 3 * 0.1) / 0.9
    assert expected_grade(Completion({}, tuple(tokens)), 4) == pytest.approx(by_hand)
    assert expected_grade(Completion({}), 4) == 4.0


def test_rules_prefer_what_is_nearer_to_the_reference() -> None:
    for judge in rule_judges(None):
        verdict = judge.compare(PAIR)
        assert (verdict.preference, verdict.consistent) == (1, None)
        assert judge.compare(Pair("p", "?", PAIR.reference, PAIR.a, PAIR.a)).preference == 0


def test_prompts_are_versioned_files() -> None:
    assert {"pairwise-1.md", "pointwise-1.md"} <= {file.name for file in PROMPTS.iterdir()}


def compared(labels: Sequence[int], a: str = "short", b: str = "rather longer words", name: str = "p") -> Compared:
    return Compared(Pair(name, "?", "r", a, b), "alpha-1", "beta-1", tuple(labels))


def verdict(preference: int, value: float | None = None, consistent: bool | None = None) -> Verdict:
    return Verdict(preference, preference if value is None else value, consistent)


def test_kappa_by_hand() -> None:
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: observed .7, by chance .5, so (.7 - .5) / (1 - .5).
    a = [1] * 25 + [0] * 25
    b = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    assert cohen_kappa(a, b) == pytest.approx(0.4)
    assert cohen_kappa([1, 1], [1, 1]) == 0.0
    assert cohen_kappa([1, 0, -1], [1, 0, -1]) == 1.0


def test_agreement_by_hand() -> None:
    judged = [
        (compared([2, 1]), verdict(1, 0.9, True)),
        (compared([-1]), verdict(-1, -0.4, True)),
        (compared([0]), verdict(1, 0.1, False)),
        (compared([1]), verdict(0, 0.0, True)),
    ]
    figures = agreement(judged)
    values = {name: figure.value for name, figure in figures.items() if figure}
    assert (values["accuracy"], values["accuracy_decided"]) == (0.5, pytest.approx(2 / 3))
    assert values["position_consistency"] == 0.75
    assert values["kappa"] == pytest.approx((0.5 - 6 / 16) / (1 - 6 / 16))
    # Ranks of people: 1.5, -1, 0, 1 -> 4, 1, 2, 3; of the judge: .9, -.4, .1, 0 -> 4, 1, 3, 2.
    assert values["spearman"] == pytest.approx(1 - 6 * 2 / (4 * 15))
    # The judge prefers the longer one in 2 of 3, the people in 2 of 3.
    assert values["verbosity_bias"] == pytest.approx(0.0)
    assert figures["self_preference"] is None
    assert not is_trusted(figures)


def test_self_preference_is_beyond_that_of_people() -> None:
    judged = [(compared([-1]), verdict(1)), (compared([1]), verdict(1)), (compared([-1]), verdict(1))]
    figure = agreement(judged, own_model="beta")["self_preference"]
    assert figure is not None
    assert figure.value == pytest.approx(1 - 1 / 3)
    assert agreement(judged, own_model="gamma")["self_preference"] is None


def test_a_perfect_judge_is_trusted_and_has_an_interval() -> None:
    judged = [(compared([label]), verdict(label)) for label in (-1, 0, 1) * 10]
    figures = agreement(judged)
    kappa = figures["kappa"]
    assert kappa is not None
    assert (kappa.value, kappa.ci95, kappa.n) == (1.0, (1.0, 1.0), 30)
    assert is_trusted(figures)


def test_people_are_measured_by_each_other() -> None:
    figures = between_people([compared([1, 2]), compared([-1, 0]), compared([0, 0]), compared([2])])
    accuracy = figures["accuracy"]
    assert accuracy is not None
    assert (accuracy.value, accuracy.n) == (pytest.approx(2 / 3), 3)


def test_nothing_judged_gives_no_figures_and_no_nan() -> None:
    assert set(agreement([]).values()) == {None}


OWN = {
    "_id": "p1",
    "question": "when?",
    "reference": "1842",
    "a": {"model": "m", "text": "x"},
    "b": {"model": "n", "text": "y"},
    "labels": [1, -2],
}
OTHERS = {
    "dataset": "d",
    "query_id": "7",
    "query": "when?",
    "gt_answer": "1842",
    "model1": {"model_name": "m", "response": "x"},
    "model2": {"model_name": "n", "response": "y"},
}


def test_both_layouts_are_read(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text(json.dumps(OWN) + "\n")
    (own,) = load_compared(tmp_path)
    assert own == Compared(Pair("p1", "when?", "1842", "x", "y"), "m", "n", (1, -2))
    assert (own.value, own.preference) == (-0.5, -1)
    other = tmp_path / "other.json"
    other.write_text(json.dumps([{**OTHERS, "overall_label": label} for label in (2, 0)]))
    (joined,) = load_compared(other)
    assert (joined.pair.id, joined.labels, joined.model_b) == ("d/7/m/n", (2, 0), "n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("{", "cannot be read"),
        ('{"_id": "p"}', "pair 1: KeyError"),
        (json.dumps({**OWN, "labels": [3]}), "from -2 to 2"),
        (json.dumps({**OWN, "labels": []}), "there must be one"),
        (json.dumps(OWN) + "\n" + json.dumps(OWN), '"p1" twice'),
        ("[1]", "no list of objects"),
    ],
)
def test_a_malformed_set_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "pairs.jsonl").write_text(text)
    with pytest.raises(DatasetError, match=said):
        load_compared(tmp_path)


def test_a_folder_without_or_with_two_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no data file"):
        load_compared(tmp_path)
    for name in ("a.json", "b.jsonl"):
        (tmp_path / name).write_text("[]")
    with pytest.raises(DatasetError, match="several data files"):
        load_compared(tmp_path)


def test_verdicts_are_kept_and_failures_counted(tmp_path: Path) -> None:
    down = {"p3"}

    def score(answer: str, reference: str) -> float:
        if answer in down:
            raise ModelError("The judge is down.")
        return float(len(answer))

    judge = RuleJudge("length", score)
    data = [compared([1], a="x", b="xx", name=f"p{n}") for n in range(5)]
    data[3] = compared([1], a="p3", b="xxx", name="p3")
    run, told = measure_judges([judge], data, tmp_path, "tiny", {}, concurrency=2)
    assert told["judges"]["length"]["errors"] == 1
    assert told["judges"]["length"]["figures"]["accuracy"] == {"value": 1.0, "ci95": [1.0, 1.0], "n": 4}
    down.clear()
    again, told = measure_judges([judge], data, tmp_path, "tiny", {}, concurrency=2)
    assert (again.id, told["judges"]["length"]["errors"]) == (run.id, 0)
    assert measured_kappa(tmp_path, "length") == 0.0
    assert measured_kappa(tmp_path, "somebody") is None


def test_what_failed_calls_took_is_in_the_run_and_stays_there(tmp_path: Path) -> None:
    broken = {"p1"}

    class Counting(Scripted):
        def complete(self, messages: Sequence[Message], schema: Mapping[str, Any], max_tokens: int = 512) -> Completion:
            count(Usage(1, 100, 10))
            return replace(super().complete(messages, schema, max_tokens), usage=Usage(1, 100, 10))

    def says(text: str) -> Mapping[str, Any]:
        # The second order of p1 is what fails: the first was paid for, too.
        return {"winner": "?" if broken and text.index("xx") < text.index("p1") else "A"} if "p1" in text else tie

    tie = {"explanation": "", "winner": "tie"}
    data = [compared([1], a="p1" if n == 1 else "x", b="xx", name=f"p{n}") for n in range(2)]
    run, _ = measure_judges([PairwiseJudge(Counting(says))], data, tmp_path, "tiny", {})
    assert told_usage(run) == {"calls": 4, "prompt_tokens": 400, "completion_tokens": 40, "cost": None}
    broken.clear()
    again, told = measure_judges([PairwiseJudge(Counting(says))], data, tmp_path, "tiny", {})
    assert (again.id, [one["errors"] for one in told["judges"].values()]) == (run.id, [0])
    assert (told_usage(again) or {})["calls"] == 4 + 2


def test_a_run_warns_of_a_judge_that_is_not_trusted(tmp_path: Path) -> None:
    def with_judge(name: str) -> str:
        with writing(runs_folder(tmp_path), {"kind": "answers", "dataset": "x", "judge": name}, {}, []) as run:
            run.finish({})
        return judge_warning(load_run(tmp_path, str(run.path)))

    assert "never measured" in with_judge("length")
    labels = [-1, 0, 1] * 4
    data = [compared([label], a="xx", b="x" * (2 + label), name=f"p{n}") for n, label in enumerate(labels)]
    measure_judges([RuleJudge("length", lambda answer, _: float(len(answer)))], data, tmp_path, "tiny", {})
    measure_judges([RuleJudge("blind", lambda answer, _: 0.0)], data, tmp_path, "tiny", {})
    assert with_judge("length") == ""
    assert "kappa 0.00" in with_judge("blind")
    assert with_judge("") == ""
