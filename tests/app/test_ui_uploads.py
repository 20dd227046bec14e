"""Uploaded files keep inside their folder and arrive whole."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ui.jobs import Report
from app.ui.uploads import MAX_NAME_BYTES, Outcome, Upload, safe_name, save
from indexer.errors import IndexError_


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd.txt", "passwd.txt"),
        ("C:\\Users\\mia\\notes.md", "notes.md"),
        ("/absolute.md", "absolute.md"),
        ("..", "document"),
        ("", "document"),
        (".hidden.md", "hidden.md"),
        ('a<b>:"c|d?.txt', "a_b___c_d_.txt"),
        ("line\nbreak\x00.md", "line break.md"),
        ("gpj\u202efdp.md", "gpjfdp.md"),
        ("Ma\u0308rz 2026.docx", "März 2026.docx"),
        ("x" * 300 + ".docx", "x" * (MAX_NAME_BYTES - 5) + ".docx"),
    ],
)
def test_names(given_name: str, kept: str) -> None:
    assert safe_name(given_name) == kept


@given(st.text() | st.text(alphabet="ab. /\\\u00a0\u0308e\U0001f600", min_size=80, max_size=300))
def test_any_name_is_one_name(name: str) -> None:
    kept = safe_name(name)
    assert kept and len(kept.encode()) <= MAX_NAME_BYTES
    assert "/" not in kept and "\\" not in kept and not kept.startswith(".")
    assert kept.isprintable() and kept == kept.strip(" .")


def test_the_same_name_again_is_a_newer_version(tmp_path: Path) -> None:
    first = save(tmp_path / "u", [("notes.md", b"old")])
    second = save(tmp_path / "u", [("notes.md", b"new")])
    assert first == second
    assert second[0].read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "u").iterdir()] == ["notes.md"]


def test_two_of_one_name_in_one_upload_are_two_documents(tmp_path: Path) -> None:
    paths = save(tmp_path, [("a/notes.md", b"1"), ("b/Notes.md", b"2"), ("notes.md", b"3")])
    assert [path.name for path in paths] == ["notes.md", "Notes (2).md", "notes (3).md"]
    assert [path.read_bytes() for path in paths] == [b"1", b"2", b"3"]


def test_an_upload_tells_how_far_it_is_and_what_came_of_it() -> None:
    upload = Upload("default", ["a.md", "b.md"])
    seen: list[tuple[int, int, str]] = []

    def work(report: Report) -> list[Outcome]:
        report(1, 2, "Reading b.md")
        seen.append((upload.finished, upload.total, upload.doing))
        return [Outcome("a.md", "indexed"), Outcome("b.md", "failed", "it is empty")]

    upload.start(work)
    upload.join(5)
    assert upload.done and seen == [(1, 2, "Reading b.md")]
    assert [outcome.state for outcome in upload.outcomes] == ["indexed", "failed"]


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (IndexError_("The collection is locked.", "Wait."), "The collection is locked."),
        (OSError(28, "No space left on device"), "The files could not be saved: No space left on device."),
        (ZeroDivisionError(), "Something went wrong inside Footnote."),
    ],
)
def test_a_failed_upload_says_why(raised: Exception, message: str) -> None:
    def work(report: Report) -> list[Outcome]:
        raise raised

    upload = Upload("default", ["a.md"])
    upload.start(work)
    upload.join(5)
    assert upload.done and upload.failure is not None
    assert upload.failure.message == message
