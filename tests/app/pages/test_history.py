"""Conversations on the page: shown again as they were, found, renamed, judged and deleted."""

import json
import threading
from collections.abc import Iterator

import pytest

from app.caller import ANYBODY, Caller
from app.conversations import TurnRecord
from app.feedback import Thumb
from app.ui import asking, opened
from app.ui.turn import Turn, begin
from generator.pipeline import Done, Event, Token
from indexer.errors import IndexError_
from tests.app.pages.conftest import QUOTE, answer, button, chat_of, click, field, html_of, page, turns_in


def test_a_new_chat_leaves_the_one_before_in_the_list(document_id: str, answering: list[object]) -> None:
    app = page().run()
    app.chat_input[0].set_value("How high?").run()
    assert app.query_params["c"] == chat_of(app).id
    click(app, "New chat")
    assert chat_of(app).turns == [] and "c" not in app.query_params
    click(app, "How high?")
    assert 'data-fn-state="answered"' in html_of(app) and len(answering) == 1


def test_a_reload_shows_the_conversation_again_and_asks_nothing(document_id: str, answering: list[object]) -> None:
    app = page().run()
    app.chat_input[0].set_value("How high?").run()
    before = html_of(app)
    again = page()
    again.query_params["c"] = app.query_params["c"]
    assert turns_in(html_of(again.run())) == turns_in(before)
    assert len(answering) == 1
    chat_of(again).open("c.0.1")
    assert QUOTE in html_of(again.run())


def test_an_answer_that_is_being_written_is_found_again_after_a_reload(
    document_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = asking.conversations()
    made = kept.begin("default", "How high?")
    turn, go = begin(kept.ask(made.id, "How high?")), threading.Event()

    def slow() -> Iterator[Event]:
        yield Token("41 ")
        assert go.wait(20)
        yield Done(answer(document_id))

    turn.start(slow, lambda record: asking.keep(ANYBODY, "default", record))
    wait = Turn.wait

    def watched(self: Turn, seen: int, timeout_s: float) -> int:
        go.set()  # now the page is watching
        return wait(self, seen, timeout_s)

    monkeypatch.setattr(Turn, "wait", watched)
    app = page()
    app.query_params["c"] = made.id
    assert 'data-fn-state="answered"' in html_of(app.run())
    assert chat_of(app).turns == [turn]


def test_an_answer_that_the_end_of_the_server_cut_off_says_so_and_can_be_made_again(
    document_id: str, answering: list[object]
) -> None:
    kept = asking.conversations()
    made = kept.begin("default", "How high?")
    kept.ask(made.id, "How high?")
    app = page()
    app.query_params["c"] = made.id
    assert "was cut off" in html_of(app.run())
    click(app, "Regenerate")
    assert 'data-fn-state="answered"' in html_of(app) and len(answering) == 1
    assert [turn.done for turn in kept.turns(made.id)] == [True]


def test_regenerating_asks_again_with_the_same_conversation_before(document_id: str, answering: list[object]) -> None:
    app = page().run()
    app.chat_input[0].set_value("How high?").run()
    app.chat_input[0].set_value("And now?").run()
    click(app, "Regenerate")
    assert answering[1] == answering[2]
    assert len(chat_of(app).turns) == 2


def test_a_conversation_that_is_not_there_is_told(document_id: str) -> None:
    app = page()
    app.query_params["c"] = "no-such"
    assert "There is no such conversation." in html_of(app.run())
    assert "c" not in app.query_params
    assert "There is no such conversation." not in html_of(app.run())


def test_a_conversation_is_found_renamed_and_deleted(document_id: str, answering: list[object]) -> None:
    app = page().run()
    app.chat_input[0].set_value("How high?").run()
    field(app.text_input, "Title").set_value("The light")
    click(app, "Rename")
    field(app.text_input, "Find a conversation").set_value("the LIGHT").run()
    assert button(app, "The light")
    field(app.text_input, "Find a conversation").set_value("nothing of it").run()
    assert "Nothing is found." in html_of(app)
    field(app.text_input, "Find a conversation").set_value("").run()
    click(app, "Delete for good")
    assert asking.conversations().list() == ()
    assert chat_of(app).turns == [] and "c" not in app.query_params


def test_a_thumb_is_stored_with_its_reason_and_what_led_to_the_answer(
    document_id: str, answering: list[object]
) -> None:
    app = page().run()
    app.chat_input[0].set_value("How high?").run()
    (turn,) = chat_of(app).turns
    app.button_group[0].set_value("down").run()
    assert asking.thumbs([turn.id]) == {turn.id: Thumb("down")}
    field(app.text_input, "What was wrong? (optional)").set_value("Not the tower. ")
    field(app.text_area, "What the answer should be (optional)").set_value("34 metres")
    click(app, "Send")
    assert asking.thumbs([turn.id]) == {turn.id: Thumb("down", "Not the tower.", "34 metres")}
    assert not [area for area in app.text_area if "should be" in area.label]
    with opened.database().connected() as db:
        rows = db.execute("SELECT key_id, collection, served FROM feedback ORDER BY number").fetchall()
    assert len(rows) == 2 and rows[0] == rows[1] and rows[0][:2] == ("", "default")
    told = json.loads(rows[0][2])
    assert (told["question"], told["answer"], told["generation"]) == ("How high?", "41 metres [1].", 1)
    assert (told["encoder"], told["citations"][0][0]) == ("fake", 1)
    again = page()
    again.query_params["c"] = app.query_params["c"]
    assert again.run().button_group[0].value == "down"


def test_an_answer_that_cannot_be_kept_is_shown_and_says_so(
    document_id: str, answering: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(caller: Caller, name: str, record: TurnRecord) -> TurnRecord:
        raise IndexError_("The disk is full.", "Free some space.")

    monkeypatch.setattr(asking, "keep", full)
    app = page().run()
    html = html_of(app.chat_input[0].set_value("How high?").run())
    assert 'data-fn-state="answered"' in html and "The disk is full." in html
    assert not app.button_group
