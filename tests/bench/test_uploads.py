"""The benchmark of broken uploads, small: what it sends is refused or taken, and nothing stays behind."""

from pathlib import Path

import pytest

from app.api import library
from app.settings import ROOT
from bench.uploads import left_behind, run
from eval.index import NoEncoder


def test_broken_uploads_are_refused_or_taken_and_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "build_encoder", lambda settings: NoEncoder())
    told = run(tmp_path, ROOT / "data" / "corpus" / "harbour", requests=30, seed=5)
    assert told["wrong"] == []
    assert {"202", "400", "file indexed", "file failed"} <= set(told["statuses"])
    assert sum(number for status, number in told["statuses"].items() if status.isdecimal()) == 30


def test_what_stays_behind_is_found(tmp_path: Path) -> None:
    home, spool = tmp_path / "home", tmp_path / "spool"
    for file in (
        home / "uploads" / "default" / "a.txt",
        home / "uploads" / ".upload-1",
        spool / "part",
        tmp_path / "out",
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    found = "\n".join(left_behind(tmp_path, home, spool, {"a.txt"}))
    assert found.count("left behind") == 3 and "a.txt" not in found
