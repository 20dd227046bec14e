"""Thumbs become gold cases that evaluation reads, each question once."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from app.database import Database
from app.feedback import IndexState, Thumb, served, store_thumb
from app.gold import GoldCase, gold_file, promote, proposed
from app.judged import judged_answers
from eval.formats import load_any
from generator.answer import Answer, Citation
from indexer.errors import ConfigError, DatasetError

LIT = "It was first lit in 1842."
ANSWER = Answer(
    "In 1842 [1].",
    (Citation(1, "d:0", "d", "/p/tower.md", None, 0, len(LIT), LIT, 1.0),),
    (),
    False,
    "When was the tower lit?",
    model="echo",
)
CASE = GoldCase("a1", "When was the tower lit?", "In 1842", ("/p/tower.md",))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path)


def thumb(database: Database, answer_id: str, given: Thumb, answer: Answer = ANSWER) -> None:
    store_thumb(database, answer_id, given, "papers", served("And when was it lit?", answer, IndexState(1, 1, "e")))


def test_the_last_thumb_of_each_answer_counts_newest_first(database: Database) -> None:
    thumb(database, "a1", Thumb("down"))
    thumb(database, "a2", Thumb("up"))
    thumb(database, "a1", Thumb("down", "wrong year", "In 1843."))
    found = judged_answers(database, 10)
    assert [(each.answer_id, each.reason) for each in found] == [("a1", "wrong year"), ("a2", "")]
    assert found[0].document_ids == ("d",)
    assert [each.answer_id for each in judged_answers(database, 1)] == ["a1"]


def test_what_a_thumb_speaks_for(database: Database) -> None:
    thumb(database, "liked", Thumb("up"))
    (liked,) = judged_answers(database, 10)
    assert proposed(liked, ["/p/tower.md"]) == GoldCase(
        "liked", "When was the tower lit?", "In 1842.", ("/p/tower.md",)
    )
    assert proposed(replace(liked, verdict="down"), []).answer == ""
    assert proposed(replace(liked, verdict="down", correction="In 1843."), []).answer == "In 1843."
    assert proposed(replace(liked, abstained=True), []).answer == ""


def test_a_question_is_kept_once_and_read_by_evaluation(tmp_path: Path) -> None:
    file = gold_file(tmp_path, "papers")
    assert file == tmp_path / "eval" / "gold" / "papers.jsonl"
    assert promote(file, CASE)
    assert not promote(file, replace(CASE, id="a2", question=" when was  the TOWER lit? "))
    assert promote(file, GoldCase("a3", "Who dug | the well?\n", "", ()))
    first, second = load_any(file, frozenset({"/p/tower.md", "/p/other.md"})).cases
    assert (first.id, first.question, first.answers) == ("a1", CASE.question, ("In 1842",))
    assert (dict(first.relevant), first.answerable) == ({"/p/tower.md": 1}, True)
    assert (second.question, second.answers, second.answerable) == ("Who dug | the well?", (), False)


def test_what_is_no_case_is_refused(tmp_path: Path) -> None:
    file = gold_file(tmp_path, "papers")
    with pytest.raises(ConfigError):
        promote(file, replace(CASE, question=" "))
    assert not file.exists()
    promote(file, CASE)
    file.write_text(json.dumps({"question": "?"}) + "\nnot JSON\n")
    with pytest.raises(DatasetError):
        promote(file, CASE)
