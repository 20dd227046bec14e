"""An experiment on the page: a conversation keeps its settings over questions and restarts, and nobody sees which."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from app.experiment import assign, exposures
from app.settings import Settings
from app.ui import asking, opened, rooms
from generator.pipeline import Done, Event
from tests.app.pages.conftest import answer, chat_of, forget, html_of, page


@pytest.fixture
def asked(document_id: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many passages each question was answered from; conversations have known names."""
    passages: list[int] = []

    class Pipeline:
        def __init__(self, settings: Settings, collection: object) -> None:
            self._passages = settings.generator.passages

        def ask(self, *about: object) -> Iterator[Event]:
            passages.append(self._passages)
            yield Done(answer(document_id))

    names = itertools.count()
    monkeypatch.setattr("app.conversations.token_urlsafe", lambda size: f"id-{next(names)}")
    monkeypatch.setattr(opened, "build_pipeline", Pipeline)
    monkeypatch.setenv("FOOTNOTE_EXPERIMENT__NAME", "fewer")
    monkeypatch.setenv("FOOTNOTE_EXPERIMENT__OVERRIDES__GENERATOR__PASSAGES", "2")
    return passages


def test_a_conversation_keeps_its_arm_over_a_restart_and_shows_nothing_of_it(asked: list[int]) -> None:
    conversations: dict[str, Any] = {}
    for _ in range(5):
        app = page().run()
        app.chat_input[0].set_value("How high?").run()
        conversations[chat_of(app).id] = app
    before = asked.copy()
    assert set(before) == {2, 5}, "both arms are served"
    forget()  # as a new process would begin
    for id_ in conversations:
        again = page()
        again.query_params["c"] = id_
        again.run().chat_input[0].set_value("And now?").run()
        html = html_of(again).lower()
        assert "experiment" not in html and "fewer" not in html and " arm" not in html
        (turn, _) = asking.conversations().turns(id_)
        assert turn.arm == assign(rooms.settings().experiment, f"conversation {id_}")
    assert asked == [*before, *before]
    kept = exposures(opened.database(), "fewer")
    assert [one.arm for one in kept] == ["b" if passages == 2 else "a" for passages in asked]
    assert len({one.unit for one in kept}) == 5


def test_a_thumb_knows_its_arm(asked: list[int]) -> None:
    app = page().run()
    app.chat_input[0].set_value("How high?").run()
    app.button_group[0].set_value("up").run()
    (one,) = exposures(opened.database(), "fewer")
    assert (one.thumb, one.arm) == ("up", "b" if asked == [2] else "a")
    with opened.database().connected() as db:
        (told,) = db.execute("SELECT json_extract(served, '$.experiment.name') FROM feedback").fetchone()
    assert told == one.arm
