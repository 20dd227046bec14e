"""Progress of an ingest: JSON lines for a program, figures for a person."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import app.display as display
from app.commands.options import ProgressForm
from app.progress import progress_as
from indexer.collection import Collection
from indexer.ledger import Progress
from indexer.store.lock import WriteLock

Footnote = Callable[..., Any]
HALF = Progress(3, 6, 40, 1000, 1, 2.0, 5.0, "/docs/sub/a.txt")


def test_json_lines_are_all_that_is_on_stderr(footnote: Footnote, papers: Path) -> None:
    (papers / "empty.txt").write_bytes(b"")
    result = footnote("ingest", papers, "--progress", "json", "--json")
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert {line["event"] for line in lines} == {"progress", "end"}
    last = lines[-1]
    assert last["event"] == "end"
    assert (last["files_done"], last["files_total"], last["chunks"], last["failed"]) == (4, 4, 3, 1)
    assert last["tokens"] == result.json["tokens"] > 0
    assert last["tokens_per_s"] > 0 and last["eta_s"] == 0
    again = footnote("reindex", "--progress", "json").stderr.splitlines()
    assert json.loads(again[-1])["files_done"] == 3
    assert footnote("ingest", papers, "--progress", "xml").code == 2


def test_waiting_is_a_line_of_json_too(
    footnote: Footnote, papers: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    footnote("ingest", papers)
    holder, acquire = contextlib.ExitStack(), WriteLock._acquire
    holder.enter_context(Collection.open(home, "default").lock.held("delete"))
    monkeypatch.setattr("indexer.store.lock._SILENT_S", 0)
    tries: list[object] = []

    def counted(lock: WriteLock) -> object:
        if len(tries) == 2:
            holder.close()
        tries.append(lock)
        return acquire(lock)

    monkeypatch.setattr(WriteLock, "_acquire", counted)
    lines = [json.loads(line) for line in footnote("ingest", papers, "--progress", "json").stderr.splitlines()]
    assert "another delete" in next(line["message"] for line in lines if line["event"] == "waiting")


def test_a_line_a_second_and_the_last_figures(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_as(ProgressForm.json) as tell:
        for _ in range(50):
            tell(HALF)
    first, end = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    figures = {"files_done": 3, "files_total": 6, "chunks": 40, "tokens": 1000, "failed": 1, "elapsed_s": 2.0}
    more = {"eta_s": 5.0, "current": "/docs/sub/a.txt", "merged": 0, "to_merge": 0, "tokens_per_s": 500.0}
    assert first == {"event": "progress"} | figures | more
    assert end == {"event": "end"} | figures | more


def test_a_plain_line_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display, "_LINE_EVERY_S", 0)
    with progress_as(ProgressForm.auto) as tell:
        tell(HALF)
        tell(replace(HALF, merged=4096, to_merge=10_000, eta_s=61.0))
        tell.wait("another ingest is writing")
    assert capsys.readouterr().err.splitlines() == [
        "a.txt: 3 of 6, 40 chunks, 500 tokens/s, 1 failed, 0:00:05 left",
        "Finishing the index: 4096 of 10000, 10,000 chunks, 0:01:01 left",
        "another ingest is writing",
    ]
