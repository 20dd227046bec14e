"""The page's logic without a browser: real collections, Streamlit's own test harness."""

import json
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit
from streamlit.testing.v1 import AppTest

from app.conversations import TurnRecord
from app.feedback import Thumb
from app.settings import ROOT
from app.ui import rooms
from app.ui.panel import shown_path
from app.ui.samples import CORPUS, sample_questions
from app.ui.session import Chat
from app.ui.turn import Turn, begin
from generator.answer import Answer, Citation
from generator.pipeline import Done, Event, Stage, Token
from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.document import Chunk
from indexer.encoder import Vectors
from indexer.errors import IndexError_, ModelError
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
    rooms.database.cache_clear()
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

    monkeypatch.setattr(rooms, "ask", ask)
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
    click(app, "Ask again")
    history = (("And how old?", "41 metres [1]."),)
    assert asked[1] == ("default", "How old is the light?", history, "How old is the light?", (found,))
    app.text_area[0].set_value("  ")
    click(app, "Ask again")
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
    kept = rooms.conversations()
    made = kept.begin("default", "How high?")
    turn, go = begin(kept.ask(made.id, "How high?")), threading.Event()

    def slow() -> Iterator[Event]:
        yield Token("41 ")
        assert go.wait(20)
        yield Done(answer(document_id))

    turn.start(slow, lambda record: rooms.keep("default", record))
    app = page()
    app.query_params["c"] = made.id
    threading.Timer(1, go.set).start()
    assert 'data-fn-state="answered"' in html_of(app.run())
    assert chat_of(app).turns == [turn]


def test_an_answer_that_the_end_of_the_server_cut_off_says_so_and_can_be_made_again(
    document_id: str, answering: list[object]
) -> None:
    kept = rooms.conversations()
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
    assert rooms.conversations().list() == ()
    assert chat_of(app).turns == [] and "c" not in app.query_params


def test_a_thumb_is_stored_with_its_reason_and_what_led_to_the_answer(
    document_id: str, answering: list[object]
) -> None:
    app = page().run()
    app.chat_input[0].set_value("How high?").run()
    (turn,) = chat_of(app).turns
    app.button_group[0].set_value("down").run()
    assert rooms.thumbs([turn.id]) == {turn.id: Thumb("down")}
    field(app.text_input, "What was wrong? (optional)").set_value("Not the tower. ")
    field(app.text_area, "What the answer should be (optional)").set_value("34 metres")
    click(app, "Send")
    assert rooms.thumbs([turn.id]) == {turn.id: Thumb("down", "Not the tower.", "34 metres")}
    assert not [area for area in app.text_area if "should be" in area.label]
    with rooms.database().connected() as db:
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
    def full(name: str, record: TurnRecord) -> TurnRecord:
        raise IndexError_("The disk is full.", "Free some space.")

    monkeypatch.setattr(rooms, "keep", full)
    app = page().run()
    html = html_of(app.chat_input[0].set_value("How high?").run())
    assert 'data-fn-state="answered"' in html and "The disk is full." in html
    assert not app.button_group


def test_a_collection_can_be_made_and_a_bad_name_is_refused(document_id: str, home: Path) -> None:
    app = page().run()
    field(app.text_input, "Name").set_value("../x")
    click(app, "Make it")
    assert "cannot be the name of a collection" in html_of(app)
    field(app.text_input, "Name").set_value("contracts")
    click(app, "Make it")
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
