"""The Evaluation page in a real browser: a run begun, opened, compared, and a thumb made a gold case.

FOOTNOTE_TEST_SCREENSHOT=PATH keeps pictures of the page.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.database import Database
from app.feedback import IndexState, Thumb, served, store_thumb
from eval.dataset import Case
from eval.outcome import as_outcome
from eval.run import Record, list_runs, runs_folder, writing
from generator.answer import Answer, Citation
from indexer.document import Chunk
from retriever.hit import Hit
from tests.app.ui.conftest import Site, Tab, await_clicks, looks, playwright, running, violations

pytestmark = pytest.mark.browser

EVIL = "<img src=x onerror=alert(1)>"
LIT = "It was first lit on 3 November 1874."
CORPUS = {"lamp": f"The lighthouse lamp. {LIT}", "crane": "The harbour crane lifts four tonnes.", "boat": "A red boat."}
QUESTIONS = {"q1": ("When was the lamp lit?", "lamp"), "q2": ("What does the crane lift?", "crane")}


def answers(home: Path, name: str, values: dict[str, float]) -> None:
    """A run over three answered questions, as `eval answers` leaves one."""
    chunk = Chunk("d:0", "d", LIT, 0, len(LIT))
    hits = (Hit(chunk, "lamp", f"Lamp {EVIL}", 1.5, 1, "hybrid"),)
    citation = Citation(1, "d:0", "d", "lamp", None, 0, len(LIT), LIT, 1.0)
    answer = Answer(f"In 1874 [1]. {EVIL}", (citation,), hits, False, "when?", model="echo")
    cases = [Case(id_, f"When was {id_} lit? {EVIL}", {"lamp": 1}, ("1874",)) for id_ in values]
    identity = {"kind": "answers", "dataset": "tiny", "dataset_sha256": "0", "model": "echo", "name": name}
    outcome = as_outcome(answer) | {"judgement": {"grade": 4, "explanation": "It names the year."}}
    with writing(runs_folder(home), identity, {}, cases) as run:
        records = [Record(id_, place, "", outcome, timings_ms={"total": 9.0}) for place, id_ in enumerate(values)]
        run.add(*records)
        run.finish({"": {"f1": values}})


def judge(home: Path) -> None:
    """A thumb as the chat page stores it."""
    home.mkdir(parents=True, exist_ok=True)
    answer = Answer("It was lit in 1874 [1].", (), (), False, "When was the lamp lit?", model="echo")
    told = served("When was it lit?", answer, IndexState(1, 1, "none"))
    store_thumb(Database(home), "answer-1", Thumb("up", "short"), "default", told)


@pytest.fixture(scope="module")
def site(chromium: "playwright.Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("evaluation")
    home = folder / "home"
    answers(home, "before", {"a": 0.25, "b": 1.0, "c": 0.5})
    answers(home, "after", {"a": 0.75, "b": 0.5, "c": 0.5})
    judge(home)
    dataset = folder / "tiny"
    dataset.mkdir()
    rows = [{"_id": id_, "title": "", "text": text} for id_, text in CORPUS.items()]
    (dataset / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows = [{"_id": id_, "text": text} for id_, (text, _) in QUESTIONS.items()]
    (dataset / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged = "".join(f"{id_}\t{entry}\t1\n" for id_, (_, entry) in QUESTIONS.items())
    (dataset / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    with running(("ui",), home, folder / "server.log") as site:
        yield site


@pytest.fixture
def page(tab: Tab, site: Site) -> "playwright.Page":
    page = tab(site, "evaluation")
    page.get_by_role("heading", name="Evaluation", exact=True).wait_for()
    await_clicks(page)
    return page


def picture(page: "playwright.Page", name: str) -> None:
    if path := os.environ.get("FOOTNOTE_TEST_SCREENSHOT"):
        page.screenshot(path=f"{path}-{name}.png")


def view(page: "playwright.Page", name: str) -> None:
    page.get_by_role("radio", name=name).or_(page.get_by_role("button", name=name, exact=True)).first.click()


def test_a_run_opens_with_its_figures_plots_and_cases(site: Site, page: "playwright.Page") -> None:
    rows = page.locator(".fn-table tbody tr")
    playwright.expect(rows).to_have_count(2)
    assert "f1 0.583 [0.5" in rows.first.inner_text()  # of 0.75, 0.5, 0.5
    rows.first.get_by_role("button").click()
    page.locator("figure img").first.wait_for()
    titles = page.locator("figcaption").all_text_contents()
    assert {"Scores", "Risk and coverage", "Time a stage", "Latency"} <= set(titles)
    drawn = "Array.from(document.querySelectorAll('figure img')).every(i => i.complete && i.naturalWidth > 100)"
    page.wait_for_function(drawn)
    scores = page.get_by_role("region", name="Scores").inner_text()
    assert "0.5833" in scores and "3 of 3" in scores
    cases = page.get_by_role("region", name="Cases")
    assert [row.split("\t")[-1] for row in cases.inner_text().splitlines() if "\t" in row][1:] == [
        "0.500",
        "0.500",
        "0.750",
    ]
    cases.get_by_role("button").first.click()
    sheet = page.locator(".fn-sheet")
    sheet.wait_for()
    for said in (
        f"When was b lit? {EVIL}",
        "Known: 1874",
        f"In 1874 [1]. {EVIL}",
        LIT,
        "Graded 4 of 5",
        "lamp, relevant",
    ):
        assert said in sheet.inner_text()
    assert page.locator(".fn-sheet img, .fn-table img").count() == 0
    picture(page, "run")
    page.keyboard.press("Escape")
    sheet.wait_for(state="detached")
    assert site.hosts == {site.host}, "the page spoke to another host"


def test_two_runs_are_compared_case_by_case(page: "playwright.Page") -> None:
    view(page, "Compare")
    row = page.get_by_role("region", name="Comparison").locator("tbody tr")
    # A .25 1 .5, B .75 .5 .5: means .5833 both; one better, one worse, one equal
    assert row.inner_text().split("\t")[:4] == ["f1", "0.5833", "0.5833", "+0.0000"]
    assert row.inner_text().split("\t")[-3:] == ["1", "1", "1"]
    moved = page.get_by_role("region", name="Cases of both").locator("tbody tr")
    playwright.expect(moved).to_have_count(3)
    assert [text.split("\t")[-1] for text in moved.all_inner_texts()] == ["+0.500", "-0.500", "+0.000"]
    moved.first.get_by_role("button").click()
    page.locator(".fn-sheet h4").nth(1).wait_for()
    assert "f1 0.250" in page.locator(".fn-sheet").inner_text() and "f1 0.750" in page.locator(".fn-sheet").inner_text()
    picture(page, "compare")


def test_a_run_is_begun_and_opened_from_the_page(site: Site, page: "playwright.Page") -> None:
    view(page, "New run")
    box = page.get_by_role("textbox", name="Data set: a folder or file on this machine")
    box.fill("/no/such/folder")
    page.get_by_role("button", name="Begin").click()
    page.get_by_text("There is no data set /no/such/folder.").wait_for()
    box.fill(str(site.home.parent / "tiny"))
    page.get_by_text("What it must reach").click()
    floors = page.get_by_role("textbox", name="Fails below")
    floors.fill("ndcg@10")
    page.get_by_role("button", name="Begin").click()
    page.get_by_text("'ndcg@10' is not METRIC=VALUE").wait_for()
    floors.fill("ndcg@10=1.01; bm25.mrr@10=0.5")
    page.get_by_role("button", name="Begin").click()
    told = page.get_by_role("list", name="What fails").get_by_role("listitem")
    playwright.expect(told).to_have_text(["bm25.ndcg@10 is 1.0000, below 1.01."], timeout=240_000)
    page.get_by_role("button", name="Dismiss").click()
    floors.fill("bm25.ndcg@10=0.9")
    page.get_by_role("button", name="Begin").click()
    page.get_by_text("It reaches what was asked of it.").wait_for(timeout=240_000)
    page.get_by_role("button", name="Open the run").click(timeout=240_000)
    scores = page.get_by_role("region", name="Scores")
    scores.wait_for()
    assert re.search(r"ndcg@10\s+1\.0000", scores.inner_text())
    assert list_runs(site.home)[-1] in page.url
    page.get_by_text("Recall", exact=True).wait_for()


def test_a_judge_without_a_model_server_is_told(page: "playwright.Page") -> None:
    view(page, "New run")
    page.get_by_text("Answers", exact=True).click()
    page.get_by_role("combobox", name="Graded by").click()
    page.get_by_role("option", name="pointwise").click()
    page.get_by_role("button", name="Begin").click()
    ended = page.locator(".fn-ended, [role=alert]").filter(has_text="A language model as judge needs a model server.")
    ended.wait_for(timeout=240_000)
    page.get_by_role("button", name="Dismiss").click()


def test_a_thumbed_answer_becomes_a_gold_case_once(site: Site, page: "playwright.Page") -> None:
    view(page, "Gold cases")
    keep = page.get_by_role("button", name="Keep as a gold case")
    keep.click()
    page.get_by_text(re.compile("Kept in ")).wait_for()
    keep.click()
    page.get_by_text(re.compile("already in ")).wait_for()
    lines = (site.home / "eval" / "gold" / "default.jsonl").read_text().splitlines()
    assert [json.loads(line)["question"] for line in lines] == ["When was the lamp lit?"]
    assert json.loads(lines[0])["answer"] == ["It was lit in 1874."]
    picture(page, "gold")


@looks
def test_it_fits_and_axe_finds_nothing_serious(tab: Tab, site: Site, scheme: str, width: int, height: int) -> None:
    page = tab(site, "evaluation?view=Runs", width=width, height=height, scheme=scheme)
    page.locator(".fn-table").first.wait_for()
    await_clicks(page)
    shown = {
        "Runs": page.locator(".fn-table").first,
        "Compare": page.get_by_role("region", name="Cases of both"),
        "New run": page.get_by_role("button", name="Begin"),
        "Gold cases": page.get_by_role("button", name="Keep as a gold case"),
    }
    for name, mark in shown.items():
        view(page, name)
        mark.wait_for()
        assert violations(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        picture(page, f"{width}-{name}-{scheme}")
    view(page, "Runs")
    page.locator(".fn-table tbody tr").last.get_by_role("button").click()
    page.locator("figure img").first.wait_for()
    page.get_by_role("region", name="Cases").get_by_role("button").first.click()
    page.locator(".fn-sheet").wait_for()
    assert violations(page) == []
