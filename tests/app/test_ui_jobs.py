"""Work in threads of the server: what it tells, how long it will take, and that there is one at a time in a place."""

import threading
from dataclasses import replace

import pytest

from app.commands.upkeep import Reindexed
from app.ui import jobs as module
from app.ui.evaluations import Measured
from app.ui.jobs import Job, Jobs, Report
from app.ui.library import Facts, Health, Ingesting
from app.ui.others import Elsewhere
from app.ui.outcomes import outcome_html
from app.ui.person import is_loopback
from app.ui.upkeep import collections_html, index_told
from app.ui.working import elsewhere_html, files_html, merging_told, progress_told
from indexer.errors import IndexError_
from indexer.ledger import Progress
from indexer.store.lock import Holder
from indexer.store.merging import Merging
from indexer.verify import Finding


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_the_time_left_follows_the_pace_of_the_stage_in_hand(clock: Clock) -> None:
    job = Job[None]("Measuring")
    assert job.left_s() is None
    job.report(0, 10, "index")
    clock.now += 4
    job.report(2, 10, "index")
    assert job.left_s() == 16  # 2 s each, 8 to go
    job.report(0, 100, "questions")  # another stage begins anew
    assert job.left_s() is None
    clock.now += 5
    job.report(50, 100, "questions")
    assert job.left_s() == 5
    job.report(60, 100, "questions", eta_s=77.0)
    assert job.left_s() == 77.0
    assert progress_told(job) == "Measuring: 60 of 100, 0:01:17 left, questions"
    job.report(100, 100, "questions")
    assert job.left_s() is None


def test_one_job_at_a_time_in_a_place() -> None:
    jobs, go = Jobs(), threading.Event()

    def work(report: Report) -> str:
        go.wait(5)
        return "done"

    first, second, other = Job[str]("a"), Job[str]("b"), Job[str]("c")
    assert jobs.start("x", first, work)
    assert not jobs.start("x", second, work)
    assert jobs.start("y", other, work)
    jobs.dismiss("x")
    assert jobs.last("x") is first  # what runs is not sent away
    go.set()
    first.join(5)
    assert first.done and first.result == "done"
    jobs.dismiss("x")
    assert jobs.last("x") is None
    assert jobs.start("x", second, work)


def test_what_goes_wrong_is_kept() -> None:
    def work(report: Report) -> None:
        raise IndexError_("It is locked.", "Wait.")

    job = Job[None]("Checking")
    job.start(work)
    job.join(5)
    assert job.done and job.failure is not None and job.failure.remedy == "Wait."


def test_each_file_of_an_ingest_is_followed() -> None:
    job = Ingesting("Adding 3 files", 3)
    job.files = {"/u/a.md": "waiting", "/u/b.md": "waiting", "/u/c.md": "waiting"}
    for done, failed, current in ((0, 0, "/u/a.md"), (1, 0, "/u/a.md"), (2, 1, "/u/b.md"), (2, 1, "/u/c.md")):
        job(Progress(done, 3, 0, 0, failed, 1.0, None, current))
    assert job.files == {"/u/a.md": "done", "/u/b.md": "failed", "/u/c.md": "reading"}
    shown = files_html({**job.files, "/u/<d>.md": "waiting"})
    assert [shown.index(name) for name in ("c.md", "b.md", "a.md", "&lt;d&gt;.md")] == sorted(
        shown.index(name) for name in ("c.md", "b.md", "a.md", "&lt;d&gt;.md")
    )
    job(Progress(3, 3, 5, 9, 1, 2.0, None, "/u/c.md"))
    assert progress_told(job) == "Adding 3 files: 3 of 3, Finishing the index"
    job(Progress(3, 3, 5, 9, 1, 2.0, 75.0, "", 4096, 20_000))
    assert progress_told(job) == "Adding 3 files: 4,096 of 20,000, 0:01:15 left, Finishing the index"
    assert set(job.files.values()) == {"done", "failed"}, "no file has anything to do with it"


def test_the_work_of_others_is_told() -> None:
    html = elsewhere_html(Elsewhere(Holder("reindex", 7, 0.0), 30, 40))
    assert "reindex" in html and "process 7" in html and "30 of 40 documents" in html and "left" in html
    assert "4 files so far" in elsewhere_html(Elsewhere(Holder("ingest", 7, 0.0), 4))
    assert "<b>" not in elsewhere_html(Elsewhere(Holder("<b>", 7, 0.0)))
    merging = Merging(7, 4096, 20_000, 75.4, 0.0)
    html = elsewhere_html(Elsewhere(Holder("ingest", 7, 0.0), 4096, 20_000, merging))
    assert "ingest" in html and "4,096" not in html, "chunks are neither files nor documents: the bar tells them"
    assert merging_told(merging) == "Finishing the index: 4,096 of 20,000 chunks, 0:01:15 left"
    assert merging_told(replace(merging, left_s=None)) == "Finishing the index: 4,096 of 20,000 chunks"


@pytest.mark.parametrize(
    ("address", "own"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False), (None, False)]
)
def test_folders_of_the_server_are_named_only_on_loopback(
    monkeypatch: pytest.MonkeyPatch, address: str, own: bool
) -> None:
    monkeypatch.setattr("streamlit.get_option", {"server.address": address}.get)
    assert is_loopback() is own


def test_the_gate_of_a_run_is_told() -> None:
    def told(broken: tuple[str, ...] | None) -> str:
        job = Job[Measured]("Measuring")
        job.result = Measured("2026-a", broken)
        return outcome_html(job, "evaluation")

    assert 'data-fn-open="r.2026-a"' in told(None) and "reaches" not in told(None)
    assert "It reaches what was asked of it." in told(())
    assert "It fails." in told(("f1 is 0.1 < 0.2",)) and "f1 is 0.1 &lt; 0.2" in told(("f1 is 0.1 < 0.2",))


def test_a_repair_and_a_reindex_are_told() -> None:
    job: Job[object] = Job("Checking")
    finding = Finding("lexical", "/srv/lexical", "The index is missing", "Run `footnote verify --repair`.")
    job.result = Health(2, 5, (finding, replace(finding, kind="dense", repaired=True)))
    html = outcome_html(job, "papers")
    assert html.count("footnote verify --repair --collection papers") == 1 and "<strong>repaired</strong>" in html
    job.result = Reindexed(3, 1200, 128, "a<b>")
    html = outcome_html(job, "papers")
    assert "Generation 3 answers now: 1,200 chunks of at most 128 tokens, encoder a&lt;b&gt;" in html
    assert "footnote rollback --collection papers" in html


def test_collections_are_listed_with_encoder_and_size() -> None:
    facts = Facts(2, 1500, 3_400_000, 1, "<smol>", 384, 512, 64, "2026-11-22T10:11:12+00:00")
    empty = Facts(0, 0, 12_000, 1, "", 0, 0, 0, "")
    html = collections_html({"papers": facts, "new": empty, "bad": IndexError_("It is <damaged>.", "Look.")})
    assert "<bdi>papers</bdi>" in html and ">1,500</td>" in html and ">3.4 MB</td>" in html
    assert "&lt;smol&gt;, 384 dimensions, chunks of at most 512 tokens" in html and "2026-11-22 10:11" in html
    assert html.count("<td>Local</td>") == 2
    elsewhere = replace(facts, index="milvus", index_place="milvus://<db>:19530, footnote_papers (HNSW)")
    assert "<td>Milvus</td>" in collections_html({"papers": elsewhere})
    assert index_told(elsewhere) == "Milvus index at milvus://<db>:19530, footnote_papers (HNSW)"
    assert index_told(replace(elsewhere, index_place="")) == "Milvus index"
    assert index_told(facts) == "Local index"
    assert "It is &lt;damaged&gt;." in html and html.count("<tr") == 4
