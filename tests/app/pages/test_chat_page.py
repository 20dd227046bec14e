"""The chat page's logic: what is asked, what is told, and what comes of a click."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.caller import ANYBODY
from app.settings import ROOT
from app.ui import asking
from app.ui.panel import shown_path
from app.ui.samples import CORPUS, sample_questions
from app.ui.turn import Turn
from generator.pipeline import Done, Event, Stage, Token
from indexer.collection import Collection
from indexer.document import Chunk
from indexer.errors import ModelError
from indexer.store.records import DocumentInfo
from retriever.hit import Hit
from tests.app.pages.conftest import QUOTE, TEXT, answer, chat_of, click, field, html_of, page


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

    monkeypatch.setattr(asking, "ask", ask)
    app = page().run()
    app.chat_input[0].set_value("How high?").run()
    html = html_of(app)
    assert 'data-fn-state="answered"' in html and "41 metres<button" in html
    chat_of(app).open("c.0.1")
    html = html_of(app.run())
    assert f'<mark class="fn-quote" data-fn-mark>{QUOTE}</mark>' in html
    assert asked == [(ANYBODY, "default", "How high?", (), None, (), (), None)]

    app.chat_input[0].set_value("And how old?").run()
    assert asked[1:] == [(ANYBODY, "default", "And how old?", (("How high?", "41 metres [1]."),), None, (), (), None)]
    assert not chat_of(app).opened


def test_a_rewritten_question_can_be_corrected_and_asked_again(
    document_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []
    chunk = Chunk(f"{document_id}:0", document_id, TEXT, 0, len(TEXT))
    found = Hit(chunk, "light.md", "", 1.0, 1, "bm25")

    def ask(*about: object) -> Iterator[Event]:
        asked.append(about)
        yield Done(replace(answer(document_id), hits=(found,), query=f"{about[2]} (light)"))

    monkeypatch.setattr(asking, "ask", ask)
    app = page().run()
    app.chat_input[0].set_value("And how old?").run()
    assert "Searched for: <q" in html_of(app)
    (box,) = app.text_area
    assert box.value == "And how old? (light)"
    box.set_value("How old is the light?")
    click(app, "Ask again")
    history = (("And how old?", "41 metres [1]."),)
    again = "How old is the light?"
    assert asked[1] == (ANYBODY, "default", again, history, again, (found,), (), None)
    app.text_area[0].set_value("  ")
    click(app, "Ask again")
    assert len(asked) == 2


def test_a_question_that_fails_is_told_with_its_remedy(document_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*about: object) -> Iterator[Event]:
        raise ModelError("The server does not answer.", "Start it.")
        yield

    monkeypatch.setattr(asking, "ask", ask)
    app = page().run()
    html = html_of(app.chat_input[0].set_value("How high?").run())
    assert "The server does not answer." in html and "Start it." in html


def test_the_words_of_a_document_that_is_gone_are_withheld(document_id: str, home: Path) -> None:
    app = page().run()
    turn = Turn("How high?")
    turn.answer, turn.done = answer(document_id), True
    chat_of(app).turns.append(turn)
    chat_of(app).open("c.0.1")
    assert QUOTE in html_of(app.run())
    with Collection.open(home, "default").writer() as writer:  # as another process does
        writer.delete(document_id)
    html = html_of(app.run())
    assert "This document is no longer in the collection." in html and 'class="fn-gone"' in html
    assert QUOTE not in html and "41 metres" in html
    later = Turn("And how old?")
    chat_of(app).turns.append(later)
    assert chat_of(app).history(later) == (("How high?", ""),) and chat_of(app).evidence(later) == ()


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


def test_paths_are_shown_short(home: Path) -> None:
    uploads = home.resolve() / "uploads" / "default"
    assert shown_path(str(uploads / "a.md")) == "a.md"
    assert shown_path(str(uploads / "box.zip!" / "b" / "a.md")) == "box.zip!/b/a.md"
    assert shown_path(str(ROOT / "data" / "a.md")) == "data/a.md"
    assert shown_path(str(Path.home() / "notes" / "a.md")) == "~/notes/a.md"
    assert shown_path("/srv/a.md") == "/srv/a.md"


def test_a_filter_goes_with_the_question_and_a_wrong_one_asks_nothing(
    document_id: str, answering: list[object]
) -> None:
    app = page().run()
    field(app.text_input, "Only documents that hold").set_value("folder=x").run()
    assert "There is no field &quot;folder&quot; to filter by" in html_of(app)
    app.chat_input[0].set_value("How high?").run()
    assert answering == [] and chat_of(app).turns == []

    field(app.text_input, "Only documents that hold").set_value("type=md; source=light.md").run()
    app.chat_input[0].set_value("How high?").run()
    assert answering == [(ANYBODY, "default", "How high?", (), None, (), ("type=md", "source=light.md"), None)]
    assert "Only documents with <bdi>type=md; source=light.md</bdi>" in html_of(app)

    again = page()
    again.query_params["c"] = app.query_params["c"]
    assert field(again.run().text_input, "Only documents that hold").value == "type=md; source=light.md"
    click(again, "New chat")
    assert field(again.text_input, "Only documents that hold").value == ""
