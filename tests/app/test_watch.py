"""`watch`, with a clock that changes files instead of waiting."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from indexer.collection import Collection
from indexer.errors import IndexError_

Footnote = Callable[..., Any]
Step = Callable[[], object]


@pytest.fixture
def at_each_look(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[float]]]:
    """Let these steps happen before one look each, then Ctrl-C; gives the pauses that were asked for."""

    def plan(*steps: Step) -> list[float]:
        left, pauses = list(steps), []

        def sleep(pause_s: float) -> None:
            pauses.append(pause_s)
            if not left:
                raise KeyboardInterrupt
            left.pop(0)()

        monkeypatch.setattr("app.commands.watch.time.sleep", sleep)
        return pauses

    yield plan


def nothing() -> None:
    pass


def test_a_line_for_each_change(footnote: Footnote, papers: Path, at_each_look: Any) -> None:
    at_each_look(
        lambda: (papers / "new.txt").write_text("The buoy rings."), nothing, (papers / "bees.txt").unlink, nothing
    )
    result = footnote("watch", papers)
    assert result.code == 0
    lines = result.stdout.splitlines()
    assert [line.split(" ", 1)[1].split("/")[0].strip() for line in lines] == [
        *["indexed (new, 1 chunk)"] * 3,
        "indexed (new, 1 chunk)",
        "pruned",
    ]
    assert lines[3].endswith(str(papers / "new.txt")) and "bees.txt: The file is gone" in lines[4]
    assert "Watching 1 folder" in result.stderr and result.stderr.endswith("Stopped.\n")
    assert footnote("search", "buoy", "--mode", "bm25", "--json").json["hits"]


def test_lines_of_json(footnote: Footnote, papers: Path, at_each_look: Any) -> None:
    footnote("ingest", papers)
    at_each_look((papers / "bees.txt").unlink, nothing)
    (line,) = footnote("watch", papers, "--json", "--every", "0.5").stdout.splitlines()
    change = json.loads(line)
    assert (change["state"], change["path"]) == ("pruned", str(papers / "bees.txt"))


def test_an_error_is_said_and_tried_again(
    footnote: Footnote, papers: Path, at_each_look: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import app.commands.watch as module

    perform, failures = module.perform, iter((True, True, False))

    def fragile(*arguments: Any, **options: Any) -> Any:
        if next(failures):
            raise IndexError_("No space left to write truth.db", "Free some space.")
        return perform(*arguments, **options)

    monkeypatch.setattr(module, "perform", fragile)
    pauses = at_each_look(lambda: (papers / "new.txt").write_text("The buoy rings."), *[nothing] * 3)
    result = footnote("watch", papers)
    assert result.code == 0
    assert result.stderr.count("No space left") == 2 and "Free some space." in result.stderr
    assert pauses == [1, 1, 2, 4, 1]
    assert "new.txt" in result.stdout


def test_an_unmounted_disk_is_said_once_and_removes_nothing(
    footnote: Footnote, papers: Path, home: Path, at_each_look: Any
) -> None:
    at_each_look(lambda: shutil.rmtree(papers), nothing, nothing)
    assert footnote("watch", papers).stderr.count("may not be mounted") == 1
    assert len(Collection.open(home, "default").documents()) == 3
    papers.mkdir()
    refused = footnote("watch", papers)
    assert refused.code == 1 and "--force" in refused.stderr


def test_only_folders_are_watched(footnote: Footnote, papers: Path, home: Path) -> None:
    result = footnote("watch", papers / "bees.txt")
    assert result.code == 1 and "is no folder" in result.stderr
    assert Collection.list(home) == []
