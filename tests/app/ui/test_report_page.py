"""A report in a real browser: it draws, fetches nothing, and fits a phone."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eval.dataset import Case
from eval.report import render_html
from eval.run import Record, load_run, runs_folder, writing

if TYPE_CHECKING:
    import playwright.sync_api as playwright

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [1200, 390])
def test_a_report_opens_offline(chromium: "playwright.Browser", tmp_path: Path, width: int) -> None:
    cases = [Case(f"q{n}", f"where is {n}?", {"a": 1}) for n in range(30)]
    with writing(runs_folder(tmp_path), {"kind": "retrieval", "dataset": "tiny"}, {}, cases) as run:
        ranking = {"ranking": [["a", 2.0], ["z", 1.0]]}
        run.add(*(Record(case.id, n, "bm25", ranking, timings_ms={"search": n}) for n, case in enumerate(cases)))
        run.finish({"bm25": {"ndcg@10": {case.id: n / 30 for n, case in enumerate(cases)}}})
    file = tmp_path / "report.html"
    file.write_text(render_html(load_run(tmp_path, "last")), encoding="utf-8")
    page = chromium.new_page(viewport={"width": width, "height": 900})
    complaints: list[str] = []
    fetched: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(file.as_uri())
    assert page.locator("figure svg").count() == 5
    assert all(box["height"] > 40 for svg in page.locator("figure svg").all() if (box := svg.bounding_box()))
    page.get_by_text("where is 0?").click()
    assert page.locator("details[open]", has_text="First found: a (2.000)").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (complaints, fetched) == ([], [file.as_uri()])
    page.close()
