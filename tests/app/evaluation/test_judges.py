"""Judges: how they are named, what they grade, and how they are measured."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.app.evaluation.conftest import Footnote, Judge


def test_judges_are_measured_without_a_server(footnote: Footnote, tmp_path: Path) -> None:
    pair = {"question": "when?", "reference": "in 1842", "a": {"text": "in May"}, "b": {"text": "in 1842"}}
    rows = [{"_id": f"p{n}", **pair, "labels": [1, 1]} for n in range(4)]
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs/pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ("eval", "judge-agreement", "--dataset", tmp_path / "pairs")
    told = footnote(*command, "--json").json
    assert (told["pairs"], set(told["judges"])) == (4, {"f1", "rouge_l", "encoder"})
    assert told["judges"]["f1"]["figures"]["accuracy"]["value"] == 1.0
    assert told["people"]["accuracy"]["value"] == 1.0
    table = footnote(*command, "--judge", "f1").stdout
    assert "people, one by another" in table
    assert footnote("eval", "report", told["run"], "--out", tmp_path / "judges.html").code == 0
    refused = footnote(*command, "--judge", "pairwise")
    assert (refused.code, "needs a model server" in refused.stderr) == (1, True)
    unknown = footnote(*command, "--judge", "oracle")
    assert (unknown.code, "There is no judge oracle." in unknown.stderr) == (1, True)


def test_judged_metrics_are_scored_priced_and_told(answers: Callable[..., Any], judge: Judge) -> None:
    told = answers("--judge-metrics", "all", "--price-in", "1", "--price-out", "10", "--json").json
    metrics = told["metrics"]
    assert (metrics["faithfulness"]["mean"], metrics["faithfulness"]["n"], metrics["faithfulness"]["of"]) == (1.0, 2, 3)
    assert metrics["llm_context_recall"]["method"] == "judge: judge, claims-1, support-1"
    assert metrics["semantic_similarity"]["method"].startswith("encoder: ")
    calls = len(judge.asked)
    assert told["judge_usage"] == {
        "calls": calls, "prompt_tokens": 1000 * calls, "completion_tokens": 100 * calls,
        "cost": pytest.approx(calls * 0.002),
    }  # fmt: skip
    assert told["judged_metrics"]["prompts"]["faithfulness"] == ["claims-1", "support-1"]
    assert f"Judging took {calls} calls" in answers("--judge-metrics", "all").stdout


def test_a_failed_judgement_fails_the_command_and_only_it_is_tried_again(
    answers: Callable[..., Any], judge: Judge
) -> None:
    judge.failing = "verdict"
    failed = answers("--judge-metrics", "faithfulness,llm_context_precision", "--json")
    assert failed.code == 1
    assert failed.json["judge_failures"] == {"llm_context_precision": {"ModelError": 2}}
    assert "The judge failed: llm_context_precision on 2; the first, q1: The judge is down." in failed.stderr
    judge.failing = ""
    judge.asked.clear()
    again = answers("--judge-metrics", "faithfulness,llm_context_precision", "--json")
    assert (again.code, again.json["run"], set(judge.asked)) == (0, failed.json["run"], {"verdict"})


@pytest.mark.parametrize(
    "more",
    [
        ("--judge-metrics", "beauty"),
        ("--price-in", "1"),
        ("--grader", "oracle"),
        ("--domain", "poetry"),
        ("--domain", "math"),
        ("--judge", "--panel", "pointwise,geval"),
    ],
)
def test_what_a_judge_cannot_be_told_is_a_usage_mistake(answers: Callable[..., Any], more: Sequence[str]) -> None:
    assert answers(*more).code == 2


def test_a_panel_that_grades_takes_only_who_can(answers: Callable[..., Any], judge: Judge) -> None:
    refused = answers("--grader", "panel", "--panel", "pairwise,pointwise")
    assert (refused.code, "There is no judge pairwise." in refused.stderr) == (1, True)


def test_judged_metrics_need_a_server(answers: Callable[..., Any]) -> None:
    result = answers("--judge-metrics", "faithfulness")
    assert (result.code, "needs a model server" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ((), "judge, pointwise-1"),
        (("--domain", "math"), "judge, pointwise-domain-1, math-1"),
        (("--grader", "geval"), "judge, geval-1, general-1, steps "),
        (("--grader", "panel"), "panel of judge, pointwise-1; judge, geval-1, general-1, steps "),
    ],
)
def test_who_grades_is_in_the_run(answers: Callable[..., Any], judge: Judge, more: Sequence[str], named: str) -> None:
    told = answers("--judge", *more, "--json").json
    assert told["judge"].startswith(named)
    assert told["metrics"]["judged"]["mean"] == 0.75  # 4 of 1 to 5
    assert ("steps" in judge.asked) == ("geval" in named)


def test_judges_of_every_kind_are_measured_and_repeated(footnote: Footnote, judge: Judge, tmp_path: Path) -> None:
    pair = {"question": "when?", "reference": "in 1842", "a": {"text": "in May"}, "b": {"text": "in 1842"}}
    rows = [{"_id": f"p{n}", **pair, "labels": [1, 1]} for n in range(3)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ("eval", "judge-agreement", "--dataset", tmp_path / "pairs.jsonl")
    told = footnote(
        *command, "--judges", "pairwise,pointwise,geval,panel", "--panel", "f1,rouge_l,geval", "--json"
    ).json
    assert [name.partition(" ")[0] for name in told["judges"]] == ["judge,", "judge,", "judge,", "panel"]
    panel = next(judged for name, judged in told["judges"].items() if name.startswith("panel of f1; rouge_l; judge,"))
    assert panel["figures"]["accuracy"]["value"] == 1.0  # two rules outvote a judge that always takes the first
    repeated = footnote(*command, "--judge", "pairwise", "--repeat", "3", "--json").json
    assert len(repeated["judges"]) == 3
    assert repeated["repeats"]["judge, pairwise-1"]["flipped"] == {"value": 0.0, "ci95": [0.0, 0.0]}
    assert (
        "Asked 3 times, judge, pairwise-1: sd 0.00" in footnote(*command, "--judge", "pairwise", "--repeat", "3").stdout
    )
    rules = footnote(*command, "--judge", "f1", "--repeat", "3")
    assert (rules.code, "nothing to repeat" in rules.stderr) == (1, True)
    assert footnote(*command, "--judge", "f1", "--panel", "f1,geval").code == 2
    assert footnote(*command, "--judge", "pairwise", "--temperature", "1").code == 2
    for wrong in ("oracle", "f1@model", "pairwise,panel@model"):
        assert footnote(*command, "--judge", wrong).code == 1
