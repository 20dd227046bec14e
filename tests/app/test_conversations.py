"""Conversations outlive the server, come back as they were, and leave nothing behind when they are deleted."""

import sqlite3
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from app.conversations import Conversations, TurnRecord
from app.database import Database
from app.feedback import IndexState, Thumb, last_thumbs, served, store_thumb
from app.markdown import with_footnotes
from app.withheld import of_record
from generator.answer import Answer, Citation, Sentence
from generator.usage import Usage
from indexer.document import Chunk
from indexer.errors import ConfigError, IndexError_
from retriever.hit import Hit, Part
from retriever.select import LeftOut

TEXT = "The lantern stands 41 metres above high water."
HIT = Hit(
    Chunk("d:0", "d", TEXT, 0, len(TEXT), ("Light", "Lantern"), 3),
    "/docs/light.pdf",
    "The light",
    0.75,
    1,
    "convex",
    MappingProxyType({"bm25": Part(4.5, 2), "dense": Part(0.25, 1)}),
)
ANSWER = Answer(
    "41 metres [1].",
    (Citation(1, "d:0", "d", "/docs/light.pdf", 3, 0, len(TEXT), TEXT, 1.0),),
    (HIT,),
    abstained=False,
    query="How high does the lantern stand?",
    timings_ms=MappingProxyType({"search": 12.5, "total": 80.0}),
    model="tiny",
    sentences=(Sentence("41 metres [1].", 0, 14, 1.0, True, (1,)),),
    prompt_version="answer-1",
    usage=Usage(2, 300, 9),
    doubt=0.125,
)
INDEX = IndexState(2, 17, "words-1")


@pytest.fixture
def kept(tmp_path: Path) -> Conversations:
    return Conversations(Database(tmp_path))


def answered(kept: Conversations, conversation: str, question: str, answer: Answer = ANSWER) -> TurnRecord:
    record = replace(kept.ask(conversation, question), done=True, answer=answer, elapsed_s=0.5, index=INDEX)
    kept.save(record)
    return record


def on_disk(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in home.iterdir())


def test_filters_stay_with_their_question_when_it_is_asked_again(kept: Conversations) -> None:
    made = kept.begin("default", "How old?")
    asked = kept.ask(made.id, "How old?", filters=["type=pdf", "date>=2024"])
    again = kept.ask_again(made.id, asked.id)
    assert asked.filters == again.filters == ("type=pdf", "date>=2024")
    assert [turn.filters for turn in kept.turns(made.id)] == [("type=pdf", "date>=2024")]


def test_what_is_read_back_is_what_was_answered(
    kept: Conversations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.conversations.now", lambda: "2026-01-31T12:00:00+00:00")  # else a second may pass
    made = kept.begin("default", "How high?")
    first = answered(kept, made.id, "How high?")
    failed = kept.ask(made.id, "And how old?", "How old is the lantern?")
    failed = replace(failed, done=True, text="It is", hits=(HIT,), failure=("The server is gone.", "Start it."))
    kept.save(failed)
    waiting = kept.ask(made.id, "Who built it?")
    again = Conversations(Database(tmp_path))
    assert again.turns(made.id) == (first, failed, waiting)
    found = again.find(made.id)
    assert found and replace(found, updated_at=made.updated_at) == made  # a later question is a later update
    assert (again.find("none"), again.turns("none")) == (None, ())


def test_an_answer_made_again_takes_the_place_of_the_former(kept: Conversations) -> None:
    made = kept.begin("default", "How high?")
    first, second = answered(kept, made.id, "How high?"), answered(kept, made.id, "How old?")
    again = kept.ask_again(made.id, first.id)
    assert (again.question, again.query, again.done) == ("How high?", None, False)
    assert [turn.id for turn in kept.turns(made.id)] == [again.id, second.id]
    with pytest.raises(IndexError_, match="no longer there"):
        kept.ask_again(made.id, first.id)


def test_search_looks_at_titles_questions_and_answers_in_any_case(kept: Conversations) -> None:
    light, boats, _ = (kept.begin("default", title) for title in ("ÉCLAIRAGE of the tower", "Boats", "Else"))
    answered(kept, light.id, "How high?")
    old = answered(kept, boats.id, "Which boat?", replace(ANSWER, text="The Constance."))
    assert [one.id for one in kept.list(" éclairage ")] == [light.id]
    assert [one.id for one in kept.list("which BOAT")] == [boats.id]
    assert [one.id for one in kept.list("constance")] == [boats.id]
    assert kept.list("100%") == kept.list("_") == ()
    kept.ask_again(boats.id, old.id)
    assert kept.list("constance") == (), "an answer that was replaced is not found"
    assert len(kept.list(limit=2)) == 2


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("committee", True),
        ("pump committee", True),
        ("committee pump", True),
        ("decide   about", True),
        (" committee\n\tPUMP ", True),
        ("minutes valve committee harbour", True),  # of title, two questions and an answer
        ("committee 41", True),
        ("committee committee", True),
        ("committee zeppelin", False),
        ("minutesWhat", False),  # no word goes from one text into the next
        ("%", False),
    ],
)
def test_search_asks_for_every_word_in_any_order(kept: Conversations, words: str, found: bool) -> None:
    made, other = kept.begin("default", "Minutes"), kept.begin("default", "The pump alone")
    answered(kept, made.id, "What did the committee decide about the pump?")
    answered(kept, made.id, "And the valve?", replace(ANSWER, text="At the harbour."))
    answered(kept, other.id, "Who is in the club?")
    assert [one.id for one in kept.list(words)] == [made.id] * found


def test_the_conversation_that_was_asked_last_comes_first(kept: Conversations, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(f"2026-11-22T10:00:0{second}+00:00" for second in range(9))
    monkeypatch.setattr("app.conversations.now", lambda: next(times))
    first, second = kept.begin("default", "First"), kept.begin("default", "Second")
    assert [one.title for one in kept.list()] == ["Second", "First"]
    kept.ask(first.id, "More?")
    assert [one.title for one in kept.list()] == ["First", "Second"]
    assert second.updated_at == "2026-11-22T10:00:01+00:00"


def test_a_title_is_the_first_question_cut_short_until_it_is_renamed(kept: Conversations) -> None:
    made = kept.begin("default", "why\n" * 100)
    assert len(made.title) == 80 and made.title.startswith("why why") and made.title.endswith("…")
    kept.rename(made.id, "  The  light ")
    kept.rename(made.id, " \n ")
    found = kept.find(made.id)
    assert found is not None and found.title == "The light"


def test_a_deleted_conversation_leaves_no_word_on_the_disk(kept: Conversations, tmp_path: Path) -> None:
    database = Database(tmp_path)
    made, other = kept.begin("default", "Zanzibar secret"), kept.begin("default", "Another matter")
    record = answered(kept, made.id, "Zanzibar secret")
    store_thumb(database, record.id, Thumb("down", "zanzibar reason"), "default", served("Zanzibar", ANSWER, INDEX))
    with database.connected():  # another server has the file open, so the log is not removed with the last connection
        assert on_disk(tmp_path).lower().count(b"zanzibar") >= 4
        kept.delete(made.id)
        assert b"zanzibar" not in on_disk(tmp_path).lower()
    assert [one.id for one in kept.list()] == [other.id]
    assert last_thumbs(database, [record.id]) == {}
    kept.delete(made.id)
    kept.save(record)  # its answer came too late
    with pytest.raises(IndexError_, match="no longer there"):
        kept.ask(made.id, "More?")
    assert b"zanzibar" not in on_disk(tmp_path).lower()


def test_of_several_thumbs_the_last_counts_and_all_are_kept(kept: Conversations, tmp_path: Path) -> None:
    database = Database(tmp_path)
    about = served("How high?", ANSWER, INDEX)
    assert store_thumb(database, "a", Thumb("up"), "default", about) == 1
    assert store_thumb(database, "a", Thumb("down", "wrong", "42 metres"), "default", about) == 2
    assert store_thumb(database, "b", Thumb("up"), "default", about) == 3
    assert last_thumbs(database, ["a", "c"]) == {"a": Thumb("down", "wrong", "42 metres")}
    assert about["citations"] == [[1, "d", 0, 46]]
    assert about["hits"][0]["parts"] == {"bm25": [4.5, 2], "dense": [0.25, 1]}
    assert (about["generation"], about["sequence"], about["prompt"]) == (2, 17, "answer-1")


def test_a_store_of_an_earlier_layout_is_brought_up_to_date(tmp_path: Path) -> None:
    database = Database(tmp_path)
    store_thumb(database, "a", Thumb("up"), "default", {})
    with sqlite3.connect(tmp_path / "server.db") as db:
        db.executescript(
            "ALTER TABLE feedback DROP COLUMN filters;"
            "ALTER TABLE key DROP COLUMN groups; ALTER TABLE ingest DROP COLUMN groups; DROP TABLE audit;"
            "DROP TABLE exposure; DROP TABLE turn; DROP TABLE conversation;"
            "DROP INDEX feedback_answer; DROP TRIGGER feedback_is_kept;"
            "CREATE TRIGGER feedback_is_kept BEFORE DELETE ON feedback BEGIN SELECT RAISE(ABORT, 'kept'); END;"
            "PRAGMA user_version = 1;"
        )
    database = Database(tmp_path)
    assert last_thumbs(database, ["a"]) == {"a": Thumb("up")}
    kept = Conversations(database)
    assert kept.turns(kept.begin("default", "How high?").id) == ()


def test_thumbs_get_the_filters_of_their_questions_where_anybody_knows_them(tmp_path: Path) -> None:
    database = Database(tmp_path)
    kept = Conversations(database)
    made = kept.begin("default", "How high?")
    filtered, plain = kept.ask(made.id, "How high?", filters=["type=pdf"]), kept.ask(made.id, "How old?")
    with sqlite3.connect(tmp_path / "server.db") as db:
        db.execute("ALTER TABLE feedback DROP COLUMN filters")
        for id_ in (filtered.id, plain.id, "of-the-api"):
            values = ("2026-01-01", "", "default", id_, "up", "", "", "{}")
            db.execute(f"INSERT INTO feedback VALUES (NULL, {', '.join('?' * 8)})", values)
        db.execute("PRAGMA user_version = 3")
    database = Database(tmp_path)
    store_thumb(database, "new", Thumb("up"), "default", served("Who?", ANSWER, INDEX, filters=["title=*light*"]))
    with database.connected() as db:
        rows = dict(db.execute("SELECT answer_id, filters FROM feedback").fetchall())
        with pytest.raises(sqlite3.IntegrityError, match="append only"):
            db.execute("UPDATE feedback SET filters = ''")
    assert rows == {filtered.id: '["type=pdf"]', plain.id: "[]", "of-the-api": None, "new": '["title=*light*"]'}


def test_the_words_of_a_document_that_is_gone_leave_the_store(kept: Conversations, tmp_path: Path) -> None:
    other = Chunk("e:0", "e", "Ships pass.", 0, 11)
    both = replace(ANSWER, hits=(HIT, replace(HIT, chunk=other, rank=2)), left_out=(LeftOut(HIT, "tokens"),))
    made, elsewhere = kept.begin("default", "How high?"), kept.begin("papers", "How high?")
    record, theirs = answered(kept, made.id, "How high?", both), answered(kept, elsewhere.id, "How high?")
    failed = replace(kept.ask(made.id, "And?"), done=True, hits=(HIT,), failure=("The server is gone.", "Start it."))
    kept.save(failed)

    def withhold(turn: TurnRecord) -> TurnRecord:
        return of_record(turn, {"e"}.__contains__)

    assert kept.amend("default", lambda turn: of_record(turn, {"d", "e"}.__contains__)) == 0
    assert kept.amend("default", withhold) == 2
    (citation,) = ANSWER.citations
    left = replace(both, citations=(replace(citation, quote=""),), hits=both.hits[1:], left_out=())
    assert kept.turns(made.id) == (replace(record, answer=left), replace(failed, hits=()))
    assert kept.amend("default", withhold) == 0
    assert TEXT.encode() in on_disk(tmp_path) and kept.turns(elsewhere.id) == (theirs,)
    assert kept.amend("papers", withhold) == 1
    assert TEXT.encode() not in on_disk(tmp_path)
    assert with_footnotes(left) == "41 metres [^1].\n\n[^1]: light.pdf, page 3: no longer in the collection"


def test_a_newer_store_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    Database(tmp_path)
    with sqlite3.connect(tmp_path / "server.db") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match="newer Footnote"):
        Database(tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    (tmp_path / "server.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(IndexError_, match=r"cannot be read or written"):
        Database(tmp_path)
