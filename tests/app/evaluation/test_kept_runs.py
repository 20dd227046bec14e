"""Runs that are listed, compared, reported and exported."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.app.evaluation.conftest import FirstSentence, Footnote


def test_runs_are_listed_compared_reported_and_exported(
    footnote: Footnote, answers: Callable[..., Any], tmp_path: Path
) -> None:
    assert "no runs yet" in footnote("eval", "runs").stdout
    first, second = answers("--json").json["run"], answers("--limit", "2", "--json").json["run"]
    listed = footnote("eval", "runs", "--json").json["runs"]
    assert [run["run"] for run in listed] == [first, second]
    compared = footnote("eval", "compare", first, second, "--json").json
    assert compared["comparisons"][0]["metrics"]["em"]["n"] == 2
    table = footnote("eval", "compare", first, second).stdout
    assert "p (Holm)" in table
    page = tmp_path / "page.html"
    assert footnote("eval", "report", first, "--out", page, "--json").json["report"] == str(page)
    assert "<svg" in page.read_text()
    assert footnote("eval", "report", first).code == 0
    assert (tmp_path / f"{first}.html").is_file()
    lines, table_file = tmp_path / "run.jsonl", tmp_path / "run.csv"
    assert footnote("eval", "export", first, "--out", lines).code == 0
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [row["case"] for row in rows] == ["q1", "q2", "q3"]
    assert rows[0]["scores"]["em"] == 1.0
    assert "timings_ms" not in lines.read_text()
    assert footnote("eval", "export", first, "--out", table_file).code == 0
    (head, *body) = csv.reader(table_file.open(newline=""))
    assert head[:5] == ["case", "variant", "answer", "abstained", "error"]
    assert len(body) == 3


def test_a_place_that_cannot_be_written(footnote: Footnote, answers: Callable[..., Any], tmp_path: Path) -> None:
    run = answers("--json").json["run"]
    for command, name in (("report", "x.html"), ("export", "x.jsonl"), ("export", "x.csv")):
        result = footnote("eval", command, run, "--out", tmp_path / "nowhere" / name)
        assert result.code == 1
        assert "cannot be written" in result.stderr
        assert footnote("eval", command, run, "--out", tmp_path / "x.pdf").code == 2


def test_a_judge_compares_two_runs(footnote: Footnote, answers: Callable[..., Any], model: FirstSentence) -> None:
    good = answers("--json").json["run"]
    model.name = "silent"
    model.stream = lambda prompt, max_tokens=512: iter(["The documents do not say."])  # type: ignore[method-assign]
    silent = answers("--json").json["run"]
    judged = footnote("eval", "compare", silent, good, "--judge", "f1", "--json").json["judged"]
    assert (judged["judge"], judged["wins"], judged["losses"], judged["n"]) == ("f1", 2, 0, 2)
    shown = footnote("eval", "compare", silent, good, "--judge", "f1")
    assert "B wins 2, loses 0, ties 0 of 2" in shown.stdout
    assert "never measured against people" in shown.stderr
