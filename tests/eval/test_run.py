"""Runs on disk: what goes in comes out, an unfinished run is gone on with, and what is no run is refused."""

import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from eval.dataset import Case
from eval.run import Record, list_runs, load_run, runs_folder, writing
from indexer.errors import ConfigError, DatasetError

IDENTITY: Mapping[str, Any] = {"kind": "answers", "dataset": "tiny", "settings": {"k": 5}}
CASES = [
    Case("b", "Who?", {"d1": 2}, ("Ann", "Anna"), True, (("When?", "In May."), ("Where?", ""))),
    Case("a", "Why?", {}, (), False),
]


def write(home: Path, *records: Record, finish: bool = True, identity: Mapping[str, Any] = IDENTITY) -> str:
    with writing(runs_folder(home), identity, {"concurrency": 2}, CASES) as run:
        run.add(*records)
        if finish:
            run.finish({"": {"f1": {"a": 0.25, "b": 1 / 3}}})
        return run.path.stem


RECORDS = (
    Record("a", 1, outcome={"answer": "none \ud800"}, timings_ms={"total": 3.5}),
    Record("b", 0, outcome={"answer": "Ann"}),
)


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    name = write(tmp_path, *RECORDS)
    run = load_run(tmp_path, name)
    assert run.id == name
    assert [run.facts[key] for key in ("kind", "dataset", "settings", "concurrency")] == [
        "answers",
        "tiny",
        {"k": 5},
        2,
    ]
    assert "numpy" in run.facts["versions"]
    assert run.facts["finished"] >= run.facts["begun"]
    assert list(run.cases.values()) == CASES
    assert run.records == RECORDS[::-1]  # in the order of the cases
    assert run.scores == {"": {"f1": {"b": 1 / 3, "a": 0.25}}}
    assert list(run.scores[""]["f1"]) == ["b", "a"]
    assert [path.name for path in runs_folder(tmp_path).glob("*.db*")] == [f"{name}.db"]  # one file, nothing beside it


def test_an_unfinished_run_is_gone_on_with(tmp_path: Path) -> None:
    first = write(tmp_path, RECORDS[0], finish=False)
    assert "finished" not in load_run(tmp_path, first).facts
    with writing(runs_folder(tmp_path), IDENTITY, {}, CASES) as run:
        assert (run.path.stem, run.resumed, run.done()) == (first, True, {("", "a")})


def test_another_identity_and_a_finished_run_begin_anew(tmp_path: Path) -> None:
    write(tmp_path, RECORDS[0], finish=False)
    other = write(tmp_path, RECORDS[0], identity={**IDENTITY, "settings": {"k": 6}})
    with writing(runs_folder(tmp_path), {**IDENTITY, "settings": {"k": 6}}, {}, CASES) as run:
        assert not run.resumed or run.path.stem != other


def test_what_failed_is_tried_again(tmp_path: Path) -> None:
    failed = Record("a", 1, error="ModelError", message="down")
    name = write(tmp_path, RECORDS[1], failed)
    assert load_run(tmp_path, name).records[1] == failed
    with writing(runs_folder(tmp_path), IDENTITY, {}, CASES) as run:
        assert run.done() == {("", "b")}
        run.add(RECORDS[0])
        run.finish({})
    again = load_run(tmp_path, name)
    assert again.records == RECORDS[::-1]
    assert "finished" in again.facts


def test_one_process_writes_a_run(tmp_path: Path) -> None:
    refused: list[ConfigError] = []

    def second() -> None:
        try:
            write(tmp_path)
        except ConfigError as error:
            refused.append(error)

    with writing(runs_folder(tmp_path), IDENTITY, {}, CASES):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert "another process" in refused[0].message


def test_runs_are_found_by_name_part_file_and_age(tmp_path: Path) -> None:
    name = write(tmp_path, *RECORDS)
    for given in (name, name[:20], name[-12:], str(runs_folder(tmp_path) / f"{name}.db"), "last"):
        assert load_run(tmp_path, given).id == name
    assert list_runs(tmp_path) == [name]


@pytest.mark.parametrize("name", ["nothing", "", "last"])
def test_a_run_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="There is no run"):
        load_run(tmp_path, name)


def test_a_part_that_two_runs_share(tmp_path: Path) -> None:
    write(tmp_path, *RECORDS)
    write(tmp_path, *RECORDS, identity={**IDENTITY, "dataset": "other"})
    with pytest.raises(DatasetError, match="2 runs"):
        load_run(tmp_path, "20")


def test_a_file_that_is_no_run(tmp_path: Path) -> None:
    other = tmp_path / "x.db"
    other.write_bytes(b"no database at all, by far")
    with pytest.raises(DatasetError, match="is no evaluation run"):
        load_run(tmp_path, str(other))


def test_a_run_of_another_version(tmp_path: Path) -> None:
    path = runs_folder(tmp_path) / f"{write(tmp_path, *RECORDS)}.db"
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE fact SET value = '0' WHERE name = 'layout'")
    connection.close()
    with pytest.raises(DatasetError, match="another version"):
        load_run(tmp_path, str(path))
