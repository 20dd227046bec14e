"""Data sets in other layouts, and questions about a collection."""

import json
from pathlib import Path

import pytest

from eval.dataset import Case
from eval.formats import load_any, resolve, short_name
from indexer.errors import DatasetError

SOURCES = frozenset({"/data/ferry/times.md", "/data/lamp/times.md", "/data/lamp/keepers.pdf"})
SQUAD = {
    "data": [
        {
            "title": "The_Lamp",
            "paragraphs": [
                {
                    "context": "It was lit in 1842.",
                    "qas": [
                        {"id": "a", "question": "When?", "answers": [{"text": "1842"}, {"text": "1842"}]},
                        {"id": "b", "question": "By whom?", "answers": [], "is_impossible": True},
                    ],
                },
                {"context": "It burned oil.", "qas": [{"id": "c", "question": "What?", "answers": [{"text": "oil"}]}]},
            ],
        }
    ]
}


def test_squad_paragraphs_are_entries(tmp_path: Path) -> None:
    file = tmp_path / "dev.json"
    file.write_text(json.dumps(SQUAD))
    data = load_any(file)
    assert (data.name, [(e.id, e.title, e.text) for e in data.entries]) == (
        "dev",
        [("0.0", "The Lamp", "It was lit in 1842."), ("0.1", "The Lamp", "It burned oil.")],
    )
    assert data.cases == (
        Case("a", "When?", {"0.0": 1}, ("1842",)),
        Case("b", "By whom?", {}, (), False),
        Case("c", "What?", {"0.1": 1}, ("oil",)),
    )
    assert data.corpus_sha256 != data.sha256 != ""


def test_a_table_of_questions_about_a_collection(tmp_path: Path) -> None:
    file = tmp_path / "asked.csv"
    file.write_text(
        "\ufeffid,question,answer,source,answerable\n"
        "k,Who kept it?,Ann|Anna Smith,keepers.pdf,\n"
        ',"Why, then?",,,no\n'
        'f,When?,"[""nine"", ""9 | nine""]",ferry/times.md,yes\n',
        encoding="utf-8",
    )
    assert load_any(file, SOURCES).cases == (
        Case("k", "Who kept it?", {"/data/lamp/keepers.pdf": 1}, ("Ann", "Anna Smith")),
        Case("3", "Why, then?", {}, (), False),
        Case("f", "When?", {"/data/ferry/times.md": 1}, ("nine", "9 | nine")),
    )


def test_lines_of_questions_and_conversations(tmp_path: Path) -> None:
    file = tmp_path / "asked.jsonl"
    rows = [
        {"question": "When?", "answers": ["1842"], "sources": ["keepers.pdf"]},
        {
            "id": "talk",
            "turns": [{"question": "Who?", "answer": "Ann"}, {"question": "And then?", "answerable": False}],
        },
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load_any(file, SOURCES).cases == (
        Case("1", "When?", {"/data/lamp/keepers.pdf": 1}, ("1842",)),
        Case("talk.1", "Who?", {}, ("Ann",)),
        Case("talk.2", "And then?", {}, (), False, (("Who?", "Ann"),)),
    )


def test_a_folder_about_a_collection(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "Who?"}\n')
    (tmp_path / "qrels.tsv").write_text("q\tkeepers.pdf\t2\n")
    assert load_any(tmp_path, SOURCES).cases == (Case("q", "Who?", {"/data/lamp/keepers.pdf": 2}),)


def test_what_lies_beside_a_set_does_not_change_it(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text('{"_id": "a", "text": "Why?", "answerable": false}\n')
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n")
    before = load_any(tmp_path, SOURCES).sha256
    (tmp_path / "decisions.json").write_text("{}")
    assert load_any(tmp_path, SOURCES).sha256 == before
    (tmp_path / "queries.jsonl").write_text('{"_id": "a", "text": "Why not?", "answerable": false}\n')
    assert load_any(tmp_path, SOURCES).sha256 != before
    with pytest.raises(DatasetError, match="questions and no corpus"):
        load_any(tmp_path)


def test_a_document_is_named_by_the_end_of_its_path() -> None:
    assert resolve("/data/ferry/times.md", SOURCES) == ["/data/ferry/times.md"]
    assert resolve("ferry/times.md", SOURCES) == ["/data/ferry/times.md"]
    assert resolve("imes.md", SOURCES) == resolve("", SOURCES) == []
    assert len(resolve("times.md", SOURCES)) == 2


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.csv", "question,source\nWho?,times.md\n", "could be /data/ferry/times.md or /data/lamp/times.md"),
        ("x.csv", "question,source\nWho?,gone.md\n", '"gone.md" is not in the collection'),
        ("x.csv", "text\nWho?\n", "no column question"),
        ("x.csv", "question\n", "has no questions"),
        ("x.tsv", "question\tid\nWho?\ta\nWhen?\ta\n", '"a" is there twice'),
        ("x.jsonl", '{"question": " "}\n', "line 1: there is no question"),
        ("x.jsonl", '{"question": "Who?", "answers": 3}\n', "line 1: answer must be text"),
        ("x.jsonl", '{"turns": ["Who?"]}\n', "line 1: turns must be a list of objects"),
        ("x.jsonl", "[]\n", "line 1: an object is expected"),
        ("x.json", json.dumps(SQUAD), "Leave --served out"),
        ("x.pdf", "", "no known kind"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError) as error:
        load_any(tmp_path / name, SOURCES)
    assert said in f"{error.value.message} {error.value.remedy}"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.json", "{}", "not as SQuAD has it"),
        ("x.json", "[]", "not as SQuAD has it"),
        ("x.json", '{"data": []}', "no question with an answer"),
        ("x.csv", "question\nWho?\n", "--served NAME"),
    ],
)
def test_what_is_wrong_without_a_collection(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError) as error:
        load_any(tmp_path / name)
    assert said in f"{error.value.message} {error.value.remedy}"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="There is no data set"):
        load_any(tmp_path / "nowhere")


def test_a_short_name_is_the_least_that_names_one_document() -> None:
    sources = frozenset(("/data/a/x.md", "/data/b/x.md", "/data/b/y.md", "y.md", "plain.md"))
    short = {source: short_name(source, sources) for source in sources}
    assert short == {
        "/data/a/x.md": "a/x.md",
        "/data/b/x.md": "b/x.md",
        "/data/b/y.md": "b/y.md",
        "y.md": "y.md",
        "plain.md": "plain.md",
    }
    assert all(resolve(name, sources) == [source] for source, name in short.items())
