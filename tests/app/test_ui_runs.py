"""Runs as the Evaluation page shows them: by hand, and without the markup of data sets and models."""

from pathlib import Path

from app.ui.case import question_html, record_html
from app.ui.evaluation import paired
from app.ui.runs import cases_html, facts_html, main_scores, metrics_html, plot_html, runs_html
from eval.dataset import Case
from eval.report import Plot
from eval.run import Record, Run
from eval.summary import summarise
from indexer.errors import DatasetError

EVIL = "<script>alert(1)</script>"
CASES = {"q1": Case("q1", f"where? {EVIL}", {"a": 1, "b": 1}), "q2": Case("q2", "who?", {"a": 1})}
RANKED = Record("q1", 0, "bm25", {"ranking": [["z", 3.0], ["a", 1.5]]}, timings_ms={"search": 1.0})
RUN = Run(
    Path("/h/eval/runs/r.db"),
    {"id": f"r-{EVIL}", "kind": "retrieval", "dataset": EVIL, "begun": "2026-11-01T10:00:00+00:00"},
    CASES,
    (RANKED, Record("q2", 1, "bm25", None, "ModelError", "it is down")),
    {"bm25": {"ndcg@10": {"q1": 0.5}}},
)


def test_the_list_has_the_main_score_of_each_run_and_why_a_file_cannot_be_read() -> None:
    summary = summarise(RUN)
    assert main_scores(summary) == ["bm25 ndcg@10 0.500 [0.500, 0.500]"]
    html = runs_html([("r", summary), ("old", DatasetError("It was written by another version.", "Run it again."))])
    assert "0.500 [0.500, 0.500]" in html and "not finished" in html and "It was written by another version." in html
    assert html.count("data-fn-open") == 1 and "<script" not in html


def test_a_run_says_what_failed_and_each_metric_its_coverage() -> None:
    summary = summarise(RUN)
    facts = facts_html(RUN, summary, "")
    assert "Failed: 1 ModelError; the means are without them." in facts and "<script" not in facts
    metrics = metrics_html(summary["variants"]["bm25"])
    assert '<td class="fn-right">1 of 2</td>' in metrics and "ir_measures" in metrics


def test_a_ranking_says_where_the_relevant_entries_stand() -> None:
    html = record_html(CASES["q1"], RANKED, {"ndcg@10": 0.5}, "bm25")
    assert "Relevant: a at 2, b not found" in html
    assert html.count("<strong>relevant</strong>") == 1 and "ndcg@10 0.500" in html
    assert "ModelError: it is down" in record_html(CASES["q2"], RUN.records[1], {})
    assert "It was not asked." in record_html(CASES["q2"], None, {})
    assert "<script" not in question_html(CASES["q1"]) + cases_html(RUN, [("q1", 0.5)], "ndcg@10", 0)


def test_a_case_of_two_runs_is_told_by_how_far_it_moved() -> None:
    a, b = {"x": 0.5, "y": 0.2, "z": 1.0, "only-a": 1.0}, {"x": 0.4, "y": 0.9, "z": 1.0}
    assert paired(a, b) == [("y", 0.2, 0.9), ("x", 0.5, 0.4), ("z", 1.0, 1.0)]


def test_a_plot_is_a_picture_and_never_part_of_the_page() -> None:
    html = plot_html(Plot("Recall", "", f"<svg>{EVIL}</svg>"))
    assert 'src="data:image/svg+xml;base64,' in html and "<svg" not in html and "<script" not in html
