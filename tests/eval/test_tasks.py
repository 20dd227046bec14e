"""Encoder tasks on disk: what is read, and what is refused with its file and line."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from eval.tasks import Candidates, Labelled, Pair, load_task, load_tasks
from indexer.errors import DatasetError

PAIR = {"sentence1": "a", "sentence2": "b"}
CLASSES = [{"text": "one", "label": "x"}, {"text": "two", "label": "y"}, {"text": "three", "label": "x"}]


def write(folder: Path, type_: str, more: str = "", **files: Sequence[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "task.toml").write_text(f'type = "{type_}"\n{more}')
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_each_type_is_read(tmp_path: Path) -> None:
    scores = [{**PAIR, "score": score} for score in (1, 2.5, 4)]
    sts = load_task(write(tmp_path / "sts", "sts", data=scores))
    assert sts.pairs[1] == Pair("2", "a", "b", 2.5)
    labels = [{**PAIR, "label": label} for label in (1, 0, 1)]
    assert [p.score for p in load_task(write(tmp_path / "p", "pair_classification", data=labels)).pairs] == [1, 0, 1]
    lists = [{"_id": "q", "query": " which? ", "positive": ["this"], "negative": ["that", "those"]}]
    reranking = load_task(write(tmp_path / "r", "reranking", data=lists))
    assert reranking.candidates == (Candidates("q", "which?", ("this",), ("that", "those")),)
    clustering = load_task(write(tmp_path / "clusters", "clustering", data=CLASSES))
    assert clustering.labelled[0] == Labelled("1", "one", "x")
    assert clustering.train == ()
    classification = load_task(write(tmp_path / "c", "classification", train=CLASSES, test=CLASSES[:1]))
    assert (len(classification.train), len(classification.labelled)) == (3, 1)


def test_files_may_have_other_names(tmp_path: Path) -> None:
    task = load_task(write(tmp_path / "t", "clustering", 'data = "texts.jsonl"\n', texts=CLASSES))
    assert (task.name, len(task.labelled)) == ("t", 3)


def test_a_beir_folder_is_a_retrieval_task(tmp_path: Path) -> None:
    folder = tmp_path / "beir"
    folder.mkdir()
    (folder / "corpus.jsonl").write_text('{"_id": "d", "text": "words"}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "which?"}\n')
    (folder / "qrels.tsv").write_text("q\td\t1\n")
    assert load_task(folder).type == "retrieval"


def test_a_folder_of_tasks_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    write(tmp_path / "b", "clustering", data=CLASSES)
    write(tmp_path / "a", "clustering", data=CLASSES)
    (tmp_path / "README.md").write_text("about")
    assert [task.name for task in load_tasks([tmp_path])] == ["a", "b"]
    with pytest.raises(DatasetError, match="2 tasks are called a"):
        load_tasks([tmp_path, tmp_path / "a"])
    (tmp_path / "c").mkdir()
    with pytest.raises(DatasetError, match=r"c holds neither a task\.toml nor a corpus\.jsonl"):
        load_tasks([tmp_path])


def test_the_hash_is_of_type_and_data(tmp_path: Path) -> None:
    one = load_task(write(tmp_path / "1", "clustering", data=CLASSES)).sha256
    assert load_task(write(tmp_path / "2", "clustering", data=CLASSES)).sha256 == one
    assert load_task(write(tmp_path / "3", "clustering", data=CLASSES[::-1])).sha256 != one


@pytest.mark.parametrize(
    ("type_", "rows", "said"),
    [
        ("sts", [{**PAIR, "score": 1}, {"sentence1": "a", "score": 2}], "line 2: the column sentence2 is missing"),
        ("sts", [{**PAIR, "score": float("nan")}], "line 1: score must be a finite number, and is nan"),
        ("sts", [{**PAIR, "score": "high"}], "line 1: score must be a finite number, and is 'high'"),
        ("sts", [{**PAIR, "score": 1}] * 3 + [{**PAIR, "score": 2}], "all scores but one are equal"),
        ("sts", [{**PAIR, "sentence1": " ", "score": 1}], "line 1: sentence1 must be a text with words"),
        ("sts", [{**PAIR, "score": 1, "_id": "x"}, {**PAIR, "score": 2, "_id": "x"}], 'line 2: the id "x" is already'),
        ("sts", [], "is empty"),
        ("pair_classification", [{**PAIR, "label": 2}], "line 1: label must be 0 or 1, and is 2"),
        ("pair_classification", [{**PAIR, "label": 1}] * 3, "needs at least two pairs with the label 1 and one with 0"),
        ("pair_classification", [{**PAIR, "label": label} for label in (1, 0, 0)], "needs at least two pairs"),
        ("reranking", [{"query": "q", "positive": [], "negative": ["n"]}], "line 1: positive must be a list"),
        ("reranking", [{"query": "q", "positive": ["p"]}], "line 1: the column negative is missing"),
        ("clustering", [{"text": "a", "label": "x"}, {"text": "b", "label": "x"}], "one class only: x"),
        ("clustering", [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}], "a class of its own for every text"),
        ("clustering", [{"text": "a", "label": None}], "line 1: label must be a name or a whole number, and is None"),
        ("clustering", [{"text": "a", "label": True}], "line 1: label must be a name or a whole number, and is True"),
    ],
)
def test_bad_data_is_named(tmp_path: Path, type_: str, rows: list[dict[str, Any]], said: str) -> None:
    folder = write(tmp_path / "t", type_, data=rows)
    with pytest.raises(DatasetError) as error:
        load_task(folder)
    assert said in error.value.message
    assert str(folder / "data.jsonl") in error.value.message
    assert error.value.remedy


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "t", "clustering", data=CLASSES)
    with (folder / "data.jsonl").open("a") as stream:
        stream.write("{broken\n")
    with pytest.raises(DatasetError, match=r"data\.jsonl, line 4: not JSON"):
        load_task(folder)


def test_a_tested_class_must_have_been_trained(tmp_path: Path) -> None:
    folder = write(tmp_path / "t", "classification", train=CLASSES, test=[{"text": "four", "label": "z"}])
    with pytest.raises(DatasetError, match=r'test\.jsonl, "1": the label z is nowhere in the training file'):
        load_task(folder)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('type = "summarisation"', "of the unknown type 'summarisation'"),
        ('data = "x.jsonl"', "without a type"),
        ('type = "sts"\ndata = 3', "data = 3 is not understood"),
        ('type = "sts"\nmetric = "pearson"', "metric = 'pearson' is not understood"),
        ('type = "retrieval"\ndata = "x.jsonl"', "data = 'x.jsonl' is not understood"),
        ("type =", "cannot be read"),
    ],
)
def test_a_bad_task_file_is_named(tmp_path: Path, toml: str, said: str) -> None:
    (tmp_path / "task.toml").write_text(toml)
    with pytest.raises(DatasetError) as error:
        load_tasks([tmp_path])
    assert said in error.value.message
    assert "task.toml" in error.value.message


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="There is no folder"):
        load_tasks([tmp_path / "nowhere"])
    with pytest.raises(DatasetError, match="neither a"):
        load_tasks([tmp_path])
    with pytest.raises(DatasetError, match=r"data\.jsonl is missing"):
        load_task(write(tmp_path / "t", "sts"))
