"""What a run must reach."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.app.evaluation.conftest import FirstSentence, Footnote


@pytest.mark.parametrize(("floor", "code"), [("em=0.6", 0), ("em=0.7", 1), (".em=0.7", 1), ("ndcg@10=0.1", 1)])
def test_a_floor_gates(answers: Callable[..., Any], floor: str, code: int) -> None:
    assert answers("--fail-below", floor).code == code


@pytest.mark.parametrize("floor", ["em", "em=high", "beauty=0.5", "=1"])
def test_a_floor_that_is_none_is_a_usage_mistake(answers: Callable[..., Any], floor: str) -> None:
    result = answers("--fail-below", floor)
    assert result.code == 2
    assert "--fail-below" in result.stderr


def test_a_mode_that_was_not_evaluated_does_not_pass(footnote: Footnote, dataset: Path) -> None:
    run = ("eval", "retrieval", "--dataset", dataset, "--modes", "bm25")
    assert footnote(*run, "--fail-below", "bm25.ndcg@10=0.9").code == 0
    result = footnote(*run, "--fail-below", "dense.ndcg@10=0.9")
    assert result.code == 1
    assert "dense was not evaluated" in result.stderr


def test_a_run_that_is_significantly_worse_does_not_pass(
    footnote: Footnote, model: FirstSentence, dataset: Path
) -> None:
    texts = [{"_id": f"q{n}", "text": f"How tall is the tower number {n}?", "answers": ["x"]} for n in range(30)]
    (dataset / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    (dataset / "qrels.tsv").write_text("".join(f"q{n}\ttower\t1\n" for n in range(30)))
    run = ("eval", "answers", "--dataset", dataset)
    good = footnote(*run, "--json").json["run"]
    assert footnote(*run, "--no-worse-than", good).code == 0
    model.name = "worse"
    model.stream = lambda prompt, max_tokens=512: iter(["The documents do not say."])  # type: ignore[method-assign]
    result = footnote(*run, "--no-worse-than", good)
    assert result.code == 1
    assert "answered is worse than in" in result.stderr


def test_a_baseline_that_is_not_there_is_told_at_once(answers: Callable[..., Any]) -> None:
    result = answers("--no-worse-than", "nothing")
    assert result.code == 1
    assert "There is no run nothing." in result.stderr
