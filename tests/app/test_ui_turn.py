"""A turn works on through re-runs of the page, and ends in an answer, an error or a stop."""

import threading
from collections.abc import Iterator

import pytest

from app.conversations import TurnRecord
from app.ui.session import Chat
from app.ui.turn import Turn, begin, restore
from generator.answer import Answer
from generator.pipeline import Done, Event, Stage, Token
from indexer.errors import IndexError_, ModelError

ANSWER = Answer("Forty-one metres.", (), (), False, "How high?")


def finished(turn: Turn) -> Turn:
    seen = 0
    while not turn.done:
        seen = turn.wait(seen, 5)
    return turn


def test_events_become_state() -> None:
    turn = Turn("How high?")
    assert not turn.started and not turn.done

    def ask() -> Iterator[Event]:
        yield Stage("search")
        yield Token("Forty")
        yield Token("-one")
        yield Done(ANSWER)

    turn.start(ask)
    finished(turn)
    assert (turn.stage, turn.text, turn.answer, turn.failure) == ("search", "Forty-one", ANSWER, None)
    assert turn.elapsed_s > 0


def test_a_watcher_that_comes_late_sees_all_there_is() -> None:
    turn, go = Turn("How high?"), threading.Event()

    def ask() -> Iterator[Event]:
        yield Token("one ")
        assert go.wait(5)
        yield Token("two")
        yield Done(ANSWER)

    turn.start(ask)
    version = turn.wait(0, 5)
    assert turn.text == "one "
    go.set()
    while not turn.done:
        version = turn.wait(version, 5)
    assert turn.text == "one two" and turn.answer is ANSWER


def test_stopping_keeps_what_was_written_and_ends_the_work() -> None:
    turn, closed, go = Turn("How high?"), threading.Event(), threading.Event()

    def ask() -> Iterator[Event]:
        try:
            yield Token("Forty")
            assert go.wait(5)
            yield Token("-one")
            yield Done(ANSWER)
        finally:
            closed.set()

    turn.start(ask)
    turn.wait(0, 5)
    turn.stop()
    go.set()
    finished(turn)
    assert closed.wait(5)
    assert (turn.text, turn.answer, turn.failure) == ("Forty", None, None)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModelError("The server does not answer.", "Start it."), "The server does not answer."),
        (ZeroDivisionError("secret path"), "Something went wrong inside Footnote while answering."),
    ],
)
def test_errors_are_kept_for_the_page(error: Exception, message: str) -> None:
    def ask() -> Iterator[Event]:
        raise error
        yield

    turn = Turn("How high?")
    turn.start(ask)
    finished(turn)
    assert turn.failure is not None and turn.failure.message == message
    assert turn.failure.remedy


def test_history_is_what_was_answered_before() -> None:
    chat = Chat([Turn("a"), Turn("b"), Turn("c")])
    chat.turns[0].answer, chat.turns[0].done = ANSWER, True
    chat.turns[1].failure, chat.turns[1].done = ModelError("no"), True
    assert chat.working is chat.turns[2]
    assert chat.history(chat.turns[2]) == (("a", "Forty-one metres."),)
    assert chat.history(chat.turns[0]) == ()


def test_a_second_click_on_a_footnote_closes_it() -> None:
    chat = Chat()
    chat.open("c.0.1")
    assert chat.opened == "c.0.1" and not chat.whole
    chat.open("d.abc")
    assert chat.opened == "d.abc" and chat.whole
    chat.open("d.abc")
    assert chat.opened == ""


@pytest.mark.parametrize(
    "error", [IndexError_("The disk is full.", "Free some."), UnicodeEncodeError("u", "", 0, 1, "")]
)
def test_an_answer_that_cannot_be_stored_is_still_done(error: Exception) -> None:
    def keep(record: TurnRecord) -> TurnRecord:
        raise error

    turn = Turn("How high?")
    turn.start(lambda: iter((Done(ANSWER),)), keep)
    finished(turn)
    assert (turn.answer, turn.kept) == (ANSWER, None)
    assert turn.unkept is not None and turn.unkept.remedy


def test_what_is_kept_is_what_came_of_the_question() -> None:
    kept: list[TurnRecord] = []

    def failing() -> Iterator[Event]:
        yield Token("It is")
        raise ModelError("The server is gone.", "Start it.")

    for ask in (failing, lambda: iter((Token("Forty"), Done(ANSWER)))):
        turn = begin(TurnRecord("t", "How high?", "How high is the light?"))
        turn.start(ask, lambda record: kept.append(record) or record)
        finished(turn)
    failed, done = kept
    assert (failed.text, failed.failure) == ("It is", ("The server is gone.", "Start it."))
    assert (done.text, done.answer, done.query) == ("", ANSWER, "How high is the light?")
    assert all(record.id == "t" and record.done for record in kept)


def test_a_turn_starts_once_however_many_tabs_show_it() -> None:
    asked: list[int] = []

    def ask() -> Iterator[Event]:
        asked.append(1)
        yield Done(ANSWER)

    turn = begin(TurnRecord("t", "How high?"))
    assert restore(lambda: [TurnRecord("t", "How high?")]) == [turn]
    turn.start(ask)
    turn.start(ask)
    finished(turn)
    assert asked == [1]
    (again,) = restore(lambda: [TurnRecord("t", "How high?")])
    assert again.failure is not None and "cut off" in again.failure.message, "it is no longer worked on"
