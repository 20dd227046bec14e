"""`eval answers`: what it prints, and what it keeps."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.app.evaluation.conftest import TEXTS, FirstSentence, Footnote


def test_answers_have_the_promised_shape(answers: Callable[..., Any]) -> None:
    result = answers("--json")
    assert result.code == 0
    report = result.json
    assert (report["dataset"], report["cases"], report["errors"], report["model"]) == (
        "island",
        3,
        {},
        "first-sentence",
    )
    em = report["metrics"]["em"]
    assert (em["mean"], em["n"], em["of"], em["method"]) == (pytest.approx(2 / 3), 3, 3, "rules")
    assert report["metrics"]["citation_precision"]["mean"] == 1.0
    assert report["metrics"]["abstention_recall"] | {"meaning": ""} == {
        "mean": 1.0, "ci95": [1.0, 1.0], "n": 1, "of": 3, "method": "rules", "meaning": "",
    }  # fmt: skip
    assert set(report["latency_ms"]["search"]) == {"p50", "p95"}
    assert "api_key" not in json.dumps(report)


def test_answers_are_a_table_for_people(answers: Callable[..., Any]) -> None:
    result = answers()
    assert result.code == 0
    assert "3 questions, answered by first-sentence" in result.stdout
    assert "1 of 3" in result.stdout


def test_a_limit_draws_the_same_questions_again(answers: Callable[..., Any]) -> None:
    first, second = answers("--limit", "2", "--json").json, answers("--limit", "2", "--json").json
    assert first["cases"] == second["cases"] == 2
    assert first["metrics"] == second["metrics"]
    assert first["run"] != second["run"]


def test_a_finished_run_is_taken_again_if_asked(footnote: Footnote, answers: Callable[..., Any], dataset: Path) -> None:
    first = answers("--json").json["run"]
    assert answers("--reuse", "--json").json["run"] == first
    assert answers("--reuse", "--limit", "2", "--json").json["run"] != first
    searched = ("eval", "retrieval", "--dataset", dataset, "--modes", "bm25", "--json")
    run = footnote(*searched).json["run"]
    assert footnote(*searched, "--reuse").json["run"] == run
    assert footnote(*searched).json["run"] != run


def test_a_failed_case_fails_the_command_and_only_it_is_tried_again(
    answers: Callable[..., Any], model: FirstSentence
) -> None:
    model.down_for = "ferry"
    failed = answers("--json")
    assert failed.code == 1
    assert failed.json["errors"] == {"ModelError": 1}
    assert "1 of 3 cases failed; the first, q2: The model server is down." in failed.stderr
    assert failed.json["metrics"]["em"]["n"] == 2
    model.down_for = ""
    again = answers("--json")
    assert (again.code, again.json["errors"], again.json["run"]) == (0, {}, failed.json["run"])


def test_long_documents_are_cut_as_they_are_served(footnote: Footnote, model: FirstSentence, dataset: Path) -> None:
    long = " ".join(f"Sheep number {n} grazes on the hill." for n in range(600))
    rows = [{"_id": id_, "title": "", "text": f"{text} {long}"} for id_, text in TEXTS.items()]
    (dataset / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = footnote("eval", "answers", "--dataset", dataset, "--json").json
    assert report["chunking"]["max_tokens"] > 0


def test_grading_needs_a_server(answers: Callable[..., Any]) -> None:
    result = answers("--judge")
    assert result.code == 1
    assert "needs a model server" in result.stderr


def test_attacks_are_counted_and_gated(footnote: Footnote, model: FirstSentence, tmp_path: Path) -> None:
    told = footnote("eval", "injection", "--json").json
    assert (told["attack_success"]["n"], len(told["families"])) == (64, 8)
    assert 0 < told["attack_success"]["mean"] < 1
    assert told["families"]["exfiltration"]["mean"] == 0
    assert len(told["obeyed"]) == round(64 * told["attack_success"]["mean"])
    shown = footnote("eval", "injection", "--fail-below", "resisted=1")
    assert (shown.code, "attack success" in shown.stdout) == (1, True)
    assert footnote("eval", "injection", "--fail-below", "exfiltration.resisted=1").code == 0
    missing = footnote("eval", "injection", "--dataset", tmp_path)
    assert (missing.code, "scenarios.jsonl" in missing.stderr) == (1, True)


def test_a_served_collection_is_evaluated(
    footnote: Footnote, model: FirstSentence, papers: Path, tmp_path: Path
) -> None:
    footnote("ingest", papers)
    file = tmp_path / "asked.csv"
    file.write_text("question,answer,source\nWhen does the ferry leave?,at nine,ferry.txt\n")
    found = footnote("eval", "retrieval", "--dataset", file, "--served", "default", "--modes", "bm25", "--json").json
    assert (found["modes"]["bm25"]["mrr@10"], found["entries"]) == (1.0, 3)
    told = footnote("eval", "answers", "--dataset", file, "--served", "default", "--json").json
    assert (told["metrics"]["contains"]["mean"], told["metrics"]["citation_precision"]["mean"]) == (1.0, 1.0)
    assert footnote("eval", "answers", "--dataset", file).code == 1
    nowhere = footnote("eval", "answers", "--dataset", file, "--served", "nowhere")
    assert (nowhere.code, "nowhere" in nowhere.stderr) == (1, True)
    file.write_text("question\nWho?\n")
    unjudged = footnote("eval", "retrieval", "--dataset", file, "--served", "default", "--modes", "bm25")
    assert (unjudged.code, "names no relevant document" in unjudged.stderr) == (1, True)
