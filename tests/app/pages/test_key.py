"""The page where readers say who they are by an API key."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.api.keys import Keys
from app.conversations import Conversations
from app.database import Database
from app.ui import rooms
from tests.app.pages.conftest import html_of, page


@pytest.fixture
def asking(document_id: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keys]:
    """The page asks, and there is a store of keys."""
    monkeypatch.setenv("FOOTNOTE_UI__AUTH", "keys")
    rooms.settings.cache_clear()
    return Keys(Database(home))


def enter(app: AppTest, secret: str) -> AppTest:
    app.text_input[0].set_value(secret)
    app.button[0].click()
    return app.run()


def test_nothing_is_shown_before_a_key(asking: Keys) -> None:
    app = page().run()
    assert "Sign in" in html_of(app) and "default" not in html_of(app)
    assert [box.label for box in app.text_input] == ["API key"] and not app.selectbox
    assert "no valid key" in html_of(enter(app, "fn-none"))


def test_a_reader_has_conversations_of_their_own_and_no_more_rights_than_the_key(asking: Keys, home: Path) -> None:
    key, secret = asking.create("hugo", ["read"], ["default"])
    Conversations(Database(home)).begin("default", "Whose question is this?")
    Conversations(Database(home), key.id).begin("default", "How high is it?")
    app = enter(page().run(), secret)
    labels = [button.label for button in app.button]
    assert "How high is it?" in labels and "Whose question is this?" not in labels and "Sign out" in labels
    assert "Add documents" not in [expander.label for expander in app.expander]
    asking.revoke(key.id)
    app.run()
    assert "Sign in" in html_of(app) and "light.md" not in html_of(app)


def test_signing_out_leaves_nothing_for_the_next_reader(asking: Keys) -> None:
    secrets = [asking.create(name, ["admin"])[1] for name in ("ada", "bob")]
    app = enter(page().run(), secrets[0])
    next(button for button in app.button if button.label == "Sign out").click()
    app.run()
    assert "Sign in" in html_of(app) and "session" not in app.session_state
    assert "Sign in" not in html_of(enter(app, secrets[1]))
