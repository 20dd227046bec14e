"""The page's logic without a browser: real collections, Streamlit's own test harness."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import streamlit
from streamlit.testing.v1 import AppTest

from app.settings import ROOT
from app.ui import rooms
from app.ui.panel import shown_path
from app.ui.samples import CORPUS, sample_questions
from app.ui.session import Chat
from app.ui.turn import Turn
from generator.answer import Answer, Citation
from generator.pipeline import Done, Event, Stage, Token
from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.document import Chunk
from indexer.encoder import Vectors
from indexer.errors import ModelError
from indexer.ingest import ingest
from indexer.store.records import DocumentInfo
from retriever.hit import Hit

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
    monkeypatch.setattr(rooms, "warm", lambda name: None)
    _forget()
    yield tmp_path
    _forget()


def _forget() -> None:
    rooms.settings.cache_clear()
    streamlit.cache_resource.clear()


@pytest.fixture
def document_id(home: Path) -> str:
    source = home / "light.md"
    source.write_text(TEXT)
    collection = Collection.open(home, "default", create=True)
    report = ingest([source], collection, Encoder(), ChunkSettings())
    return report.files[0].document_id


def page() -> AppTest:
    return AppTest.from_file(str(ROOT / "app" / "ui" / "main.py"), default_timeout=20)


def html_of(app: AppTest) -> str:
    assert not app.exception, app.exception
    return "".join(body for element in app.get("html") if not (body := element.proto.body).startswith("<style>"))


def chat_of(app: AppTest) -> Chat:
    return app.session_state.session.chat


def answer(document_id: str) -> Answer:
    start = TEXT.index(QUOTE)
    citation = Citation(1, f"{document_id}:0", document_id, "light.md", None, start, start + len(QUOTE), QUOTE, 1.0)
    return Answer("41 metres [1].", (citation,), (), False, "How high?")


def test_without_documents_the_page_says_what_to_do(home: Path) -> None:
    html = html_of(page().run())
    assert "No documents yet" in html and "footnote ingest FOLDER" in html


def test_a_wrong_setting_is_said_and_not_thrown(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOTNOTE_GENERATOR__NONSENSE", "1")
    html = html_of(page().run())
    assert 'role="alert"' in html and "NONSENSE" in html


def test_a_question_is_asked_once_however_often_the_page_is_drawn(
    document_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def ask(*about: object) -> Iterator[Event]:
        asked.append(about)
        yield Stage("search")
        yield Token("41 metres ")
        yield Done(answer(document_id))

    monkeypatch.setattr(rooms, "ask", ask)
    app = page().run()
    app.chat_input[0].set_value("How high?").run()
    html = html_of(app)
    assert 'data-fn-state="answered"' in html and "41 metres<button" in html
    chat_of(app).open("c.0.1")
    html = html_of(app.run())
    assert f'<mark class="fn-quote" data-fn-mark>{QUOTE}</mark>' in html
    assert asked == [("default", "How high?", (), None, ())]

    app.chat_input[0].set_value("And how old?").run()
    assert asked[1:] == [("default", "And how old?", (("How high?", "41 metres [1]."),), None, ())]
    assert not chat_of(app).opened


def test_a_rewritten_question_can_be_corrected_and_asked_again(
    document_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []
    chunk = Chunk(f"{document_id}:0", document_id, TEXT, 0, len(TEXT))
    found = Hit(chunk, "light.md", "", 1.0, 1, "bm25")

    def ask(*about: object) -> Iterator[Event]:
        asked.append(about)
        yield Done(replace(answer(document_id), hits=(found,), query=f"{about[1]} (light)"))

    monkeypatch.setattr(rooms, "ask", ask)
    app = page().run()
    app.chat_input[0].set_value("And how old?").run()
    assert "Searched for: <q" in html_of(app)
    (box,) = app.text_area
    assert box.value == "And how old? (light)"
    box.set_value("How old is the light?")
    next(button for button in app.button if button.label == "Ask again").click().run()
    history = (("And how old?", "41 metres [1]."),)
    assert asked[1] == ("default", "How old is the light?", history, "How old is the light?", (found,))
    app.text_area[0].set_value("  ")
    next(button for button in app.button if button.label == "Ask again").click().run()
    assert len(asked) == 2


def test_a_question_that_fails_is_told_with_its_remedy(document_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*about: object) -> Iterator[Event]:
        raise ModelError("The server does not answer.", "Start it.")
        yield

    monkeypatch.setattr(rooms, "ask", ask)
    app = page().run()
    html = html_of(app.chat_input[0].set_value("How high?").run())
    assert "The server does not answer." in html and "Start it." in html


def test_a_source_that_is_gone_says_so_and_keeps_the_words(document_id: str, home: Path) -> None:
    app = page().run()
    turn = Turn("How high?")
    turn.answer, turn.done = answer(document_id), True
    chat_of(app).turns.append(turn)
    chat_of(app).open("c.0.1")
    rooms.remove("default", document_id)
    html = html_of(app.run())
    assert "was removed from the collection" in html and f"<blockquote>{QUOTE}</blockquote>" in html


def test_a_new_chat_forgets_and_stops(document_id: str) -> None:
    app = page().run()
    turn = Turn("How high?")
    turn.answer, turn.done = answer(document_id), True
    chat_of(app).turns.append(turn)
    app.run()
    next(button for button in app.button if button.label == "New chat").click().run()
    assert turn.stopped and chat_of(app).turns == []


def test_a_collection_can_be_made_and_a_bad_name_is_refused(document_id: str, home: Path) -> None:
    app = page().run()
    app.text_input[0].set_value("../x")
    next(button for button in app.button if button.label == "Make it").click().run()
    assert "cannot be the name of a collection" in html_of(app)
    app.text_input[0].set_value("contracts")
    next(button for button in app.button if button.label == "Make it").click().run()
    assert Collection.list(home) == ["contracts", "default"]
    assert app.session_state.session.collection == "contracts"


def test_a_damaged_collection_is_told_and_leaves_the_others_usable(document_id: str, home: Path) -> None:
    Collection.open(home, "broken", create=True).close()
    (home / "collections" / "broken" / "generations" / "0001" / "truth.db").write_bytes(b"not a database" * 100)
    app = page().run()
    assert 'role="alert"' not in html_of(app)
    options = app.selectbox[0].options
    assert options == ["broken · damaged", "default · 1 document"]
    app.selectbox[0].set_value("broken").run()
    assert 'role="alert"' in html_of(app)
    app.selectbox[0].set_value("default").run()
    assert 'role="alert"' not in html_of(app)


def test_sample_questions_come_with_the_sample_documents_only() -> None:
    def info(source: Path) -> DocumentInfo:
        return DocumentInfo("d", str(source), "", "text/markdown", 1, 1, 0, "")

    assert sample_questions([info(Path("/notes/a.md"))]) == ()
    questions = sample_questions([info(CORPUS / "island" / "overview.md")])
    assert len(questions) == 4 and all(question.endswith("?") for question in questions)


def test_paths_are_shown_short() -> None:
    assert shown_path(str(ROOT / "data" / "a.md")) == "data/a.md"
    assert shown_path(str(Path.home() / "notes" / "a.md")) == "~/notes/a.md"
    assert shown_path("/srv/a.md") == "/srv/a.md"
