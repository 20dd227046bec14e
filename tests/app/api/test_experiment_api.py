"""An experiment through the API: a conversation, a user or a first question keeps its settings, over restarts, too."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from running import Running

from app.database import Database
from app.experiment import assign, exposures
from app.settings import Settings, load_settings

QUESTION = {"role": "user", "content": "How tall is the tower?"}


@pytest.fixture
def settings(home: Path, encoder: Any, model: Any) -> Settings:
    return load_settings(
        None,
        {
            "FOOTNOTE_HOME": str(home),
            "FOOTNOTE_GENERATOR__BASE_URL": model.base_url,
            "FOOTNOTE_EXPERIMENT__NAME": "one-passage",
            "FOOTNOTE_EXPERIMENT__OVERRIDES__GENERATOR__PASSAGES": "1",
        },
    )


@pytest.fixture
def start(settings: Settings, tower: str) -> Iterator[Callable[[], httpx.Client]]:
    """Starts a server, and ends the one before."""
    servers: list[Running] = []

    def restart() -> httpx.Client:
        if servers:
            servers[-1].stop()
        servers.append(Running(settings))
        return servers[-1].client()

    yield restart
    servers[-1].stop()


def passages(client: httpx.Client, *messages: dict[str, str], **more: Any) -> int:
    """From how many passages a question is answered: 1 in arm b, 3 in arm a."""
    body = {"model": "tower", "messages": list(messages) or [QUESTION], **more}
    sent = client.post("/v1/chat/completions", json=body)
    assert sent.status_code == 200, sent.text
    assert "one-passage" not in sent.text and "experiment" not in sent.text
    message = sent.json()["choices"][0]["message"]
    assert message["footnote"]["ignored"] == []
    return len(message["footnote"]["hits"])


def test_a_named_conversation_keeps_its_arm_over_a_restart(
    start: Callable[[], httpx.Client], settings: Settings, home: Path
) -> None:
    client = start()
    names = [f"talk-{number}" for number in range(6)]
    first = [passages(client, footnote={"conversation": name}) for name in names]
    arms = [assign(settings.experiment, f" conversation {name}") for name in names]
    assert first == [1 if arm and arm.name == "b" else 3 for arm in arms] and set(first) == {1, 3}
    client = start()
    assert [passages(client, footnote={"conversation": name}) for name in names] == first
    kept = exposures(Database(home), "one-passage")
    assert [one.arm for one in kept] == ["b" if size == 1 else "a" for size in [*first, *first]]
    assert len({one.unit for one in kept}) == 6 and all(one.total_ms > 0 for one in kept)
    assert "talk-0" not in (home / "server.db").read_bytes().decode("latin-1")


def test_a_user_or_the_first_question_stands_for_the_conversation(start: Callable[[], httpx.Client]) -> None:
    client = start()
    users = [passages(client, user=f"user-{number}") for number in range(6)]
    assert set(users) == {1, 3}
    answered = {"role": "assistant", "content": "34 metres."}
    again = {"role": "user", "content": "And when was it lit?"}
    assert [passages(client, QUESTION, answered, again, user=f"user-{number}") for number in range(6)] == users
    for number in range(6):
        opening = {"role": "user", "content": f"How tall is the tower? {number}"}
        assert passages(client, opening) == passages(client, opening, answered, again)


def test_a_stream_and_its_thumb_belong_to_the_arm(start: Callable[[], httpx.Client], home: Path) -> None:
    client = start()
    body = {"model": "tower", "messages": [QUESTION], "stream": True, "user": "ann"}
    lines = client.post("/v1/chat/completions", json=body).text.split("\n\n")
    id_ = json.loads(lines[0].removeprefix("data: "))["id"]
    assert client.post("/feedback", json={"id": id_, "thumb": "up"}).status_code == 201
    (one,) = exposures(Database(home), "one-passage")
    assert one.thumb == "up"


def test_else_nothing_is_kept(serve: Any, tower: str, home: Path) -> None:
    assert passages(serve().client(), user="ann") == 3
    with Database(home).connected() as db:
        assert db.execute("SELECT count(*) FROM exposure").fetchone() == (0,)
