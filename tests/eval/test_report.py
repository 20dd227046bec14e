"""The report: its curves by hand, and pages that hold what they must, escaped and without anything from outside."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from eval.dataset import Case
from eval.outcome import as_outcome
from eval.report import calibration, recall_curve, render_html, render_markdown, risk_coverage
from eval.run import Record, Run, load_run, runs_folder, writing
from generator.answer import Answer, Citation
from indexer.document import Chunk
from retriever.hit import Hit

EVIL = '<script>alert("x")</script> | **bold**'


class Page(HTMLParser):
    """Which elements and which addresses a page has."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")]


@pytest.fixture
def retrieval(tmp_path: Path) -> Run:
    cases = [Case(f"q{n}", f"where is {n}?", {"a": 1, "b": 1} if n % 2 else {"a": 2, "z": 0}) for n in range(24)]
    rankings = [[["z", 3.0], ["a", 2.0], ["b", 1.0]], [["a", 2.5], ["z", 2.0]]]
    facts = {"kind": "retrieval", "dataset": "tiny"}
    with writing(runs_folder(tmp_path), facts, {}, cases) as run:
        run.add(
            *(
                Record(c.id, n, "bm25", {"ranking": rankings[n % 2]}, timings_ms={"search": n})
                for n, c in enumerate(cases)
            )
        )
        run.finish({"bm25": {"ndcg@10": {case.id: n / 24 for n, case in enumerate(cases)}}})
    return load_run(tmp_path, "last")


@pytest.fixture
def answers(tmp_path: Path) -> Run:
    text = f"It burned oil. {EVIL}"
    hit = Hit(Chunk("d:0", "d", text, 0, len(text)), "lamp.md", "", 1.0, 1, "bm25")
    citation = Citation(1, "d:0", "d", "lamp.md", None, 0, 14, "It burned oil.", 0.8)
    cases = [Case(f"q{n}", f"what burned, {n}? {EVIL}", answers=("oil",)) for n in range(12)]
    with writing(runs_folder(tmp_path), {"kind": "answers", "dataset": "tiny", "model": "echo"}, {}, cases) as run:
        outcome = as_outcome(Answer(f"Oil. [1] {EVIL}", (citation,), (hit,), False, "what burned?", model="echo"))
        run.add(*(Record(case.id, n, "", outcome, timings_ms={"total": 5.0}) for n, case in enumerate(cases[:-1])))
        run.add(Record("q11", 11, error="ModelError", message=f"down {EVIL}"))
        run.finish({"": {"f1": {f"q{n}": n / 12 for n in range(11)}, "support": {f"q{n}": 0.5 for n in range(11)}}})
    return load_run(tmp_path, "last")


def test_recall_at_k_by_hand(retrieval: Run) -> None:
    # Even questions: "a" of one, second. Odd ones: "a" of two, first; "b" is not found.
    points = dict(recall_curve(retrieval, "bm25", 3))
    assert points == {1: pytest.approx(0.25), 2: pytest.approx(0.75), 3: pytest.approx(0.75)}


def test_risk_and_coverage_by_hand() -> None:
    points = risk_coverage([(0.9, 1.0), (0.5, 0.0), (0.5, 1.0), (0.1, 0.0)])
    assert points == [(0.25, 0.0), (0.75, pytest.approx(1 / 3)), (1.0, 0.5)]


def test_calibration_by_hand() -> None:
    pairs = [(0.1 * n, float(n % 2)) for n in range(10)]
    assert calibration(pairs) == [(pytest.approx(0.2 * n + 0.05), 0.5) for n in range(5)]
    assert calibration([(0.3, 1.0)]) == [(0.3, 1.0)]


def test_the_page_stands_alone(retrieval: Run, answers: Run) -> None:
    for run in (retrieval, answers):
        page = Page(render_html(run))
        assert {"main", "svg", "table", "details"} <= page.tags
        assert not {"script", "link", "img", "iframe"} & page.tags
        assert [address for address in page.addresses if not address.startswith("#")] == []


def test_the_page_says_what_happened(answers: Run) -> None:
    html = render_html(answers)
    for said in ("f1", "11 of 12", "1 failed", "ModelError", "Risk and coverage", "It burned oil.", "echo"):
        assert said in html
    assert html.index("what burned, 0?") < html.index("what burned, 1?")  # the worst first
    assert "NaN" not in html


def test_judgements_are_shown_with_what_failed_and_what_they_took(tmp_path: Path) -> None:
    usage = {"calls": 1, "prompt_tokens": 900, "completion_tokens": 40}
    steps = {
        "answer_claims": {"value": [f"It burned oil. {EVIL}", "It burned gas."], "usage": usage},
        "answer_in_passages": {"value": [True, False], "usage": usage},
    }
    failed = {"llm_context_recall": {"error": "ModelError", "message": "the judge is down"}}
    answer = as_outcome(Answer("Oil.", (), (), False, "what?", model="echo"))
    told = {"model": "judge-7b", "prompts": {"faithfulness": ["claims-1", "support-1"]}, "encoder": None}
    facts = {"kind": "answers", "dataset": "tiny", "model": "echo", "judged_metrics": told}
    with writing(runs_folder(tmp_path), facts, {}, [Case("q", "what burned?", answers=("oil",))]) as run:
        run.note("prices", {"per_million_in": 1.0, "per_million_out": 10.0})
        run.add(Record("q", 0, "", {**answer, "judgements": {"steps": steps, "failed": failed}}))
        run.finish({"": {"f1": {"q": 0.5}, "faithfulness": {"q": 0.5}}}, complete=False)
    html = re.sub(r"\s+", " ", render_html(load_run(tmp_path, "last")))
    shown = (
        "not supported: It burned gas.",
        "supported: It burned oil. &lt;script&gt;",
        "2 calls: 1800 tokens in, 80 out",
        "cost 0.0026",
        "llm_context_recall: 1 ModelError",
        "judge: judge-7b, claims-1, support-1",
        "not finished",
    )
    for said in shown:
        assert said in html
    text = render_markdown(load_run(tmp_path, "last"))
    assert "Judging took 2 calls: 1800 tokens in, 80 out, cost 0.0026." in text
    assert "llm_context_recall: 1 ModelError" in text


def test_retrieval_is_shown_with_its_hits(retrieval: Run) -> None:
    html = render_html(retrieval)
    for said in ("Recall", "Scores of hits", "ndcg@10", "24 of 24", "First found: z (3.000)"):
        assert said in re.sub(r"\s+", " ", html)


def test_the_same_run_gives_the_same_page(retrieval: Run) -> None:
    assert render_html(retrieval) == render_html(retrieval)


def test_markdown_tables_hold_the_figures(answers: Run) -> None:
    text = render_markdown(answers)
    assert "| f1 | 0.4167 |" in text
    assert "## Failed" in text
    assert all(line.count("|") in (0, 6, 7) for line in text.splitlines() if line.startswith("|"))


def test_a_run_without_any_outcome_has_a_page(tmp_path: Path) -> None:
    with writing(runs_folder(tmp_path), {"kind": "answers", "dataset": "x"}, {}, [Case("a", "?")]) as run:
        run.add(Record("a", 0, error="ModelError", message="down"))
        run.finish({"": {}})
    run_ = load_run(tmp_path, "last")
    assert "1 failed" in render_html(run_)
    assert "ModelError" in render_markdown(run_)
