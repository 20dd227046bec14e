"""The page in this process, without a browser: real collections, Streamlit's own test harness."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit
from streamlit import config
from streamlit.testing.v1 import AppTest

from app.settings import ROOT
from app.ui import asking, opened, person, rooms
from app.ui.session import Chat
from generator.answer import Answer, Citation
from generator.pipeline import Done, Event
from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.encoder import Vectors
from indexer.ingest import ingest

TEXT = "# Light\n\nThe lantern stands 41 metres above high water.\n"
QUOTE = "The lantern stands 41 metres above high water."


class Encoder:
    """Unit vectors that mean nothing: nothing here searches."""

    fingerprint, dim, max_tokens, query_instruction = "fake", 4, 512, ""

    def encode(self, texts: list[str], instruction: str = "", on_progress: object = None) -> Vectors:
        return np.full((len(texts), 4), 0.5, dtype=np.float32)

    def count_tokens(self, texts: list[str]) -> list[int]:
        return [len(text.split()) for text in texts]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("FOOTNOTE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["main.py"])
    monkeypatch.setattr(asking, "warm", lambda name: None)
    config.set_option("server.address", "127.0.0.1")  # as the file says that Streamlit seeks in the current folder
    forget()
    yield tmp_path
    forget()


def forget() -> None:
    """Close what a page has opened."""
    rooms.settings.cache_clear()
    opened.database.cache_clear()
    person.keys.cache_clear()
    streamlit.cache_resource.clear()


@pytest.fixture
def document_id(home: Path) -> str:
    source = home / "light.md"
    source.write_text(TEXT)
    collection = Collection.open(home, "default", create=True)
    report = ingest([source], collection, Encoder(), ChunkSettings())
    return report.files[0].document_id


@pytest.fixture
def answering(document_id: str, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the pipeline was asked; it answers the same to everything."""
    asked: list[object] = []

    def ask(*about: object) -> Iterator[Event]:
        asked.append(about)
        yield Done(answer(document_id))

    monkeypatch.setattr(asking, "ask", ask)
    return asked


def page() -> AppTest:
    return AppTest.from_file(str(ROOT / "app" / "ui" / "main.py"), default_timeout=20)


def html_of(app: AppTest) -> str:
    assert not app.exception, app.exception
    return "".join(body for element in app.get("html") if not (body := element.proto.body).startswith("<style>"))


def chat_of(app: AppTest) -> Chat:
    return app.session_state.session.chat


def button(app: AppTest, name: str) -> Any:
    return next(button for button in app.button if button.label.replace("\\", "") == name)


def click(app: AppTest, name: str) -> None:
    button(app, name).click().run()


def field(fields: Sequence[Any], name: str) -> Any:
    return next(one for one in fields if one.label == name)


def turns_in(html: str) -> list[str]:
    return re.findall('<article class="fn-turn".*?</article>', html, re.DOTALL)


def answer(document_id: str) -> Answer:
    start = TEXT.index(QUOTE)
    citation = Citation(1, f"{document_id}:0", document_id, "light.md", None, start, start + len(QUOTE), QUOTE, 1.0)
    return Answer("41 metres [1].", (citation,), (), False, "How high?")
