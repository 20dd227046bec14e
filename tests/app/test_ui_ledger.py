"""The ledger as the Documents page shows it: order, filters, sizes, and nothing of a file's name that is markup."""

import pytest

from app.ui.jobs import Job
from app.ui.ledger import Wanted, chosen, size_told, table_html, type_of
from app.ui.library import Deleted, Health
from app.ui.outcomes import health_html, outcome_html
from indexer.store.records import FileRow
from indexer.verify import Finding

ROWS = (
    FileRow("/p/a.md", "indexed", document_id="1", chunks=3, bytes=1200, load_ms=500, encode_ms=1500),
    FileRow("/p/b.zip!/c.pdf", "failed", "it is encrypted.", "Remove the password.", bytes=10),
    FileRow("/p/d.xyz", "skipped", "Files ending in .xyz are not supported"),
    FileRow("/p/e.pdf", "indexed", document_id="2", chunks=1, bytes=99),
)
TITLES = {"1": "The Lighthouse", "2": "<b>Bold</b>"}


@pytest.mark.parametrize(
    ("wanted", "paths"),
    [
        (Wanted(), ["/p/b.zip!/c.pdf", "/p/d.xyz", "/p/a.md", "/p/e.pdf"]),
        (Wanted(words="light"), ["/p/a.md"]),
        (Wanted(words="P pdf"), ["/p/b.zip!/c.pdf", "/p/e.pdf"]),
        (Wanted(state="indexed"), ["/p/a.md", "/p/e.pdf"]),
        (Wanted(type="PDF"), ["/p/b.zip!/c.pdf", "/p/e.pdf"]),
        (Wanted(state="failed", type="Markdown"), []),
    ],
)
def test_what_a_filter_shows(wanted: Wanted, paths: list[str]) -> None:
    assert [row.path for row in chosen(ROWS, wanted, TITLES)] == paths


def test_types_and_sizes_in_words() -> None:
    assert [type_of(row.path) for row in ROWS] == ["Markdown", "PDF", ".xyz", "PDF"]
    assert type_of("/p/Makefile") == "no ending"
    sizes = [0, 999, 1000, 1250, 99_900, 123_456, 5_000_000_000]
    assert [size_told(size) for size in sizes] == ["0 B", "999 B", "1.0 kB", "1.2 kB", "99.9 kB", "123 kB", "5.0 GB"]


def test_the_table_opens_documents_and_holds_no_markup_of_theirs() -> None:
    html = table_html(ROWS, TITLES)
    assert html.count("data-fn-open") == 2 and 'data-fn-open="d.2"' in html
    assert "&lt;b&gt;Bold&lt;/b&gt;" in html and "<b>" not in html
    assert "it is encrypted. <span>Remove the password.</span>" in html
    assert '<td class="fn-right" title="load 500 ms, encode 1.5 s">2.0 s</td>' in html


def test_findings_name_the_command_for_this_collection() -> None:
    found = Finding("lexical", "/h/<i>", "2 chunks (1, 2) are missing", "Run `footnote verify --repair`; it rebuilds.")
    html = health_html(Health(3, 9, (found,)), "papers")
    assert "3 documents, 9 chunks: 1 finding" in html
    assert "<code>footnote verify --repair --collection papers</code>" in html and "<i>" not in html
    assert "everything agrees" in health_html(Health(1, 1, ()), "papers")


def test_a_deletion_says_what_is_gone() -> None:
    job = Job[Deleted]("Deleting 2 files")
    job.result, job.done = Deleted(1, 2), True
    assert "1 document and 2 lines of the ledger are gone." in outcome_html(job, "papers")
