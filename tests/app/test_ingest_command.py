"""`ingest`: what it prints, and what its exit code says."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indexer.collection import Collection

Footnote = Callable[..., Any]


def test_ingest_then_again_then_a_change(footnote: Footnote, papers: Path, encoder: Any) -> None:
    first = footnote("ingest", papers, "--json")
    assert first.code == 0
    assert first.json["counts"] == {"indexed": 3, "unchanged": 0, "skipped": 0, "failed": 0}
    assert {Path(file["path"]).name for file in first.json["files"]} == {"lighthouse.md", "ferry.txt", "bees.txt"}
    assert first.json["documents"] == 3
    encoder.encoded.clear()
    assert footnote("ingest", papers, "--json").json["counts"]["unchanged"] == 3
    assert encoder.encoded == []
    (papers / "ferry.txt").write_text("The ferry leaves at ten.\n", encoding="utf-8")
    third = footnote("ingest", papers)
    assert "1 indexed, 2 unchanged" in third.stdout
    assert len(encoder.encoded) == 1


def test_a_file_that_fails_costs_only_itself_and_the_exit_code(footnote: Footnote, papers: Path) -> None:
    (papers / "empty.pdf").write_bytes(b"")
    (papers / "picture.docx").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    result = footnote("ingest", papers)
    assert result.code == 1
    assert "3 indexed, 2 failed" in result.stdout
    assert f"failed: {papers / 'empty.pdf'}: the file is empty (0 bytes)" in result.stdout
    files = {Path(file["path"]).name: file for file in footnote("ingest", papers, "--json").json["files"]}
    assert files["picture.docx"]["state"] == "failed"
    assert files["picture.docx"]["reason"]
    assert files["picture.docx"]["remedy"]
    assert footnote("search", "ferry", "--mode", "bm25", "--json").json["hits"]
    problems = footnote("status", "--json").json["problems"]
    assert [Path(problem["path"]).name for problem in problems] == ["empty.pdf", "picture.docx"]


def test_failed_files_are_listed_and_tried_again_alone(footnote: Footnote, papers: Path) -> None:
    (papers / "empty.pdf").write_bytes(b"")
    (papers / "late.txt").write_bytes(b"")
    footnote("ingest", papers)
    assert footnote("status", "--failed").code == 0
    listed = footnote("status", "--failed", "--json").json["failed"]
    assert [Path(file["path"]).name for file in listed] == ["empty.pdf", "late.txt"]
    assert all(file["reason"] and file["remedy"] and file["state"] == "failed" for file in listed)
    text = footnote("status", "--failed").stdout
    assert f"{papers / 'late.txt'}: the file is empty (0 bytes)" in text and listed[0]["remedy"] in text
    assert "ferry" not in text and "2 failed files" in text

    (papers / "late.txt").write_text("The late words.\n", encoding="utf-8")
    (papers / "new.txt").write_text("Never seen.\n", encoding="utf-8")
    again = footnote("ingest", "--retry-failed", "--json")
    assert again.code == 1
    assert {Path(file["path"]).name: file["state"] for file in again.json["files"]} == {
        "empty.pdf": "failed",
        "late.txt": "indexed",
    }
    (papers / "empty.pdf").unlink()
    gone = footnote("ingest", "--retry-failed", "--json")
    assert (gone.code, gone.json["files"][0]["reason"]) == (1, "There is no such file or folder")
    footnote("ingest", papers, "--prune")
    nothing = footnote("ingest", "--retry-failed")
    assert (nothing.code, "nothing to do" in nothing.stdout) == (0, True)


def test_ingest_ends_with_a_table_of_the_states(footnote: Footnote, papers: Path) -> None:
    footnote("ingest", papers)
    (papers / "moved.txt").write_bytes((papers / "bees.txt").read_bytes())
    (papers / "bees.txt").unlink()
    (papers / "twin.txt").write_bytes((papers / "ferry.txt").read_bytes())
    (papers / "lighthouse.md").write_text("# Lighthouse\n\nIt is dark.\n", encoding="utf-8")
    (papers / "new.txt").write_text("New words.\n", encoding="utf-8")
    (papers / "empty.txt").write_bytes(b"")
    (papers / "odd.xyz").write_bytes(b"\x00\x01\xff" * 9)
    report = footnote("ingest", papers, "--json").json
    assert report["counts"] == {"indexed": 4, "unchanged": 1, "skipped": 1, "failed": 1}
    expected = {"new": 1, "changed": 1, "moved": 1, "duplicate": 1, "unchanged": 1, "skipped": 1, "failed": 1}
    assert report["states"] == expected | {"indexed": 4, "pruned": 0}
    documents = footnote("documents", "--json").json["documents"]
    assert [[Path(source).name for source in document["sources"]] for document in documents] == [
        ["ferry.txt", "twin.txt"],
        ["lighthouse.md"],
        ["moved.txt"],
        ["new.txt"],
    ]
    (papers / "ferry.txt").unlink()
    lines = footnote("ingest", papers, "--prune").stdout.splitlines()
    table = {" ".join(line.split()[:-7]): line.split()[-7] for line in lines if len(line.split()) >= 8}
    assert table["unchanged"] == "4" and table["pruned"] == "1" and table["failed"] == "1"
    assert footnote("documents", "--json").json["documents"][2]["sources"] == [str(papers / "new.txt")]


def test_deleting_one_of_two_sources_keeps_the_document(footnote: Footnote, papers: Path) -> None:
    (papers / "twin.txt").write_bytes((papers / "ferry.txt").read_bytes())
    footnote("ingest", papers)
    gone = footnote("delete", papers / "ferry.txt", "--json").json["deleted"]
    assert [(Path(document["source"]).name, document["sources_left"]) for document in gone] == [("ferry.txt", 1)]
    (hit,) = footnote("search", "ferry", "--mode", "bm25", "--json").json["hits"]
    assert hit["source"] == str(papers / "twin.txt")
    footnote("delete", gone[0]["id"])
    assert footnote("search", "ferry", "--mode", "bm25", "--json").json["hits"] == []


def test_prune_is_refused_for_what_may_be_an_unmounted_disk(footnote: Footnote, papers: Path) -> None:
    footnote("ingest", papers)
    for path in papers.iterdir():
        path.unlink()
    refused = footnote("ingest", papers, "--prune")
    assert refused.code == 1 and "--force" in refused.stderr
    assert len(footnote("documents", "--json").json["documents"]) == 3
    assert footnote("ingest", papers, "--prune", "--force", "--json").json["states"]["pruned"] == 3
    assert footnote("documents", "--json").json["documents"] == []


@pytest.mark.parametrize(
    "arguments",
    [(), (".", "--retry-failed"), ("--prune", "--retry-failed"), (".", "--force"), (".", "--address", "head:6379")],
)
def test_ingest_options_that_do_not_go_together(footnote: Footnote, arguments: tuple[str, ...]) -> None:
    assert footnote("ingest", *arguments).code == 2


def test_without_ray_its_engine_says_what_to_install(
    footnote: Footnote, papers: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("indexer.ray_engine", "indexer.ray_cluster"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)  # importing it then fails
    result = footnote("ingest", papers, "--engine", "ray", "--json")
    assert result.code == 1
    assert "Ray is not installed" in result.json["error"]["message"]
    assert "requirements-ray.txt" in result.json["error"]["remedy"]
    assert Collection.list(home) == []


def test_nothing_to_ingest_makes_no_collection(footnote: Footnote, tmp_path: Path, home: Path) -> None:
    (tmp_path / "hollow").mkdir()
    for path, words in (("hollow", "it is empty"), ("nowhere", "no such file or folder")):
        result = footnote("ingest", tmp_path / path, "--json")
        assert result.code == 1
        assert words in result.json["error"]["message"]
        assert result.json["error"]["message"] in result.stderr
    assert Collection.list(home) == []
