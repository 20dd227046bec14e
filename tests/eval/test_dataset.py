"""Loading a data set, and every way in which one can be wrong."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from eval.dataset import load_dataset
from indexer.errors import DatasetError

BENCH = Path(os.environ.get("FOOTNOTE_BENCH", Path(__file__).parents[3] / "shared/bench"))

CORPUS = [{"_id": "d1", "title": "One", "text": "first text"}, {"_id": "d2", "title": "", "text": "second text"}]
QUERIES = [
    {"_id": "q1", "text": "what is first?", "answers": ["first text"], "answerable": True, "turns": ["hello?"]},
    {"_id": "q2", "text": "what is third?", "answerable": False},
]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "corpus.jsonl", *CORPUS)
    write(tmp_path / "queries.jsonl", *QUERIES)
    (tmp_path / "qrels.tsv").write_text(QRELS)
    return tmp_path


def write(path: Path, *rows: Mapping[str, object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def test_loads_and_joins(folder: Path) -> None:
    dataset = load_dataset(folder)
    assert dataset.name == folder.name
    assert [(e.id, e.title, e.text) for e in dataset.entries] == [
        ("d1", "One", "first text"),
        ("d2", "", "second text"),
    ]
    first, second = dataset.cases
    assert (first.question, dict(first.relevant)) == ("what is first?", {"d1": 2, "d2": 0})
    assert (first.answers, first.answerable, first.turns) == (("first text",), True, (("hello?", ""),))
    assert (second.relevant, second.answers, second.answerable) == ({}, (), False)
    assert dataset.judged == (first,)


def test_the_corpus_hash_follows_the_corpus_alone(folder: Path) -> None:
    before = load_dataset(folder).corpus_sha256
    write(folder / "queries.jsonl", *QUERIES[:1])
    assert load_dataset(folder).corpus_sha256 == before
    write(folder / "corpus.jsonl", *CORPUS, {"_id": "d3", "text": "third"})
    assert load_dataset(folder).corpus_sha256 != before


def test_qrels_without_a_header_and_with_windows_line_ends(folder: Path) -> None:
    (folder / "qrels.tsv").write_bytes(b"q1\td1\t1\r\n")
    assert dict(load_dataset(folder).cases[0].relevant) == {"d1": 1}


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels.tsv"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DatasetError, match=f"{name} is missing") as error:
        load_dataset(folder)
    assert "corpus.jsonl" in error.value.remedy


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_an_empty_file_is_named(folder: Path, name: str) -> None:
    (folder / name).write_text("\n")
    with pytest.raises(DatasetError, match=f"{name} is empty"):
        load_dataset(folder)


@pytest.mark.parametrize(
    ("name", "line", "what"),
    [
        ("corpus.jsonl", "{not json", "line 3: not JSON"),
        ("corpus.jsonl", '["d3"]', "line 3: an object is expected"),
        ("corpus.jsonl", '{"_id": 3, "text": "x"}', 'line 3: an object with a string "_id"'),
        ("corpus.jsonl", '{"_id": "d1", "text": "again"}', 'line 3: the id "d1" is already on line 1'),
        ("corpus.jsonl", '{"_id": "d3", "text": ["x"]}', "line 3: title and text must be strings"),
        ("queries.jsonl", '{"_id": "q3", "text": "  "}', 'line 3: the query "q3" has no text'),
        ("queries.jsonl", '{"_id": "q2", "text": "again"}', 'line 3: the id "q2" is already on line 2'),
        ("queries.jsonl", '{"_id": "q3", "text": "x", "answers": "y"}', "line 3: answers must be a list"),
        ("queries.jsonl", '{"_id": "q3", "text": "x", "turns": "y"}', "line 3: turns must be a list"),
        ("queries.jsonl", '{"_id": "q3", "text": "x", "turns": [{"answer": "y"}]}', "line 3: a turn must be"),
        ("queries.jsonl", '{"_id": "q3", "text": "x", "answerable": "no"}', "line 3: answerable must be"),
        ("qrels.tsv", "q1\td9\t1", 'line 4: the id "d9" is not in corpus.jsonl'),
        ("qrels.tsv", "q9\td1\t1", 'line 4: the id "q9" is not in queries.jsonl'),
        ("qrels.tsv", "q1\td1\t1", 'line 4: "q1" and "d1" are judged twice'),
        ("qrels.tsv", "q2 d1 1", "line 4: three tab-separated cells"),
        ("qrels.tsv", "q2\td1\thigh", "line 4: three tab-separated cells"),
        ("qrels.tsv", "q2\td1\t0.5", "line 4: three tab-separated cells"),
    ],
)
def test_a_wrong_line_is_named(folder: Path, name: str, line: str, what: str) -> None:
    with (folder / name).open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(DatasetError, match=f"{name}, {what}"):
        load_dataset(folder)


def test_a_set_that_is_to_be_declined_needs_no_judgement(folder: Path) -> None:
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "Why?", "answerable": false}\n')
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n")
    (case,) = load_dataset(folder).cases
    assert (case.answerable, dict(case.relevant)) == (False, {})


@pytest.mark.parametrize("qrels", ["", "query-id\tcorpus-id\tscore\n", "q1\td1\t0\n"])
def test_qrels_that_judge_nothing_relevant(folder: Path, qrels: str) -> None:
    (folder / "qrels.tsv").write_text(qrels)
    with pytest.raises(DatasetError, match="judges nothing as relevant"):
        load_dataset(folder)


def test_a_file_that_is_not_text(folder: Path) -> None:
    (folder / "corpus.jsonl").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DatasetError, match="is not UTF-8 text"):
        load_dataset(folder)


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is missing"):
        load_dataset(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "entries", "judged"),
    [("cranfield", 1400, 225), ("scifact", 5183, 300), ("squad2-dev", 1216, 1463), ("clapnq-dev", 597, 150)],
)
def test_the_shared_sets_load(name: str, entries: int, judged: int) -> None:
    if not (BENCH / name).is_dir():
        pytest.skip(f"{BENCH / name} is absent (set FOOTNOTE_BENCH)")
    dataset = load_dataset(BENCH / name)
    assert (len(dataset.entries), len(dataset.judged)) == (entries, judged)
