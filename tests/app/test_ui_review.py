"""The review page's logic without a browser: Streamlit's own test harness on a real folder of questions."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit
from streamlit import config
from streamlit.testing.v1 import AppTest

from app.settings import ROOT
from app.ui import rooms
from app.ui.candidate import candidate_html
from app.ui.review import in_turn
from eval.synthesis.question_set import decide, load_questions
from tests.eval.written import HOME, HOSTILE, LIT, question_folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    out = question_folder(tmp_path / "asked")
    monkeypatch.setenv("FOOTNOTE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("sys.argv", ["main.py", "--review", str(out)])
    config.set_option("server.address", "127.0.0.1")  # as the file says that Streamlit seeks in the current folder
    _forget()
    yield out
    _forget()


def _forget() -> None:
    rooms.settings.cache_clear()
    streamlit.cache_resource.clear()


def page() -> AppTest:
    return AppTest.from_file(str(ROOT / "app" / "ui" / "main.py"), default_timeout=20).run()


def html_of(app: AppTest) -> str:
    assert not app.exception, app.exception
    return "".join(body for element in app.get("html") if not (body := element.proto.body).startswith("<style>"))


def press(app: AppTest, name: str) -> str:
    next(button for button in app.button if button.label == name).click().run()
    return html_of(app)


def verdicts(folder: Path) -> dict[str, str]:
    return {id_: decision.verdict for id_, decision in load_questions(folder).decisions.items()}


def test_decisions_are_on_disk_at_once_and_can_be_taken_back(folder: Path) -> None:
    app = page()
    assert 'data-fn-candidate="single-0001"' in html_of(app)
    assert 'data-fn-candidate="two-0002"' in press(app, "Accept")
    assert verdicts(folder) == {"single-0001": "accepted"}
    assert 'data-fn-candidate="unanswerable-0003"' in press(app, "Reject")
    assert 'data-fn-candidate="two-0002"' in press(app, "Undo")
    assert verdicts(folder) == {"single-0001": "accepted"}
    assert 'data-fn-candidate="unanswerable-0003"' in press(app, "Skip")
    press(app, "Accept")
    assert 'data-fn-candidate="two-0002"' in press(app, "Accept")
    html = press(app, "Reject")
    assert "Nothing is left here." in html
    assert "0 left · 3 accepted · 1 rejected · 3 in the set" in html


def test_an_edit_is_an_accepted_question(folder: Path) -> None:
    app = page()
    press(app, "Edit")
    app.text_area[0].set_value("How tall is it all?")
    app.text_input[0].set_value("  ")  # as the model had it
    press(app, "Save and accept")
    (first, *_) = (json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines())
    assert (first["text"], first["answers"]) == ("How tall is it all?", ["34 metres"])
    app.radio[0].set_value("accepted").run()
    assert "How tall is it all?" in html_of(app)
    press(app, "Reject")
    assert verdicts(folder) == {"single-0001": "rejected"}
    assert load_questions(folder).decisions["single-0001"].question == "How tall is it all?"
    press(app, "Undo")
    assert verdicts(folder) == {"single-0001": "accepted"}
    press(app, "Undo")
    assert verdicts(folder) == {}


def test_a_question_without_an_answer_is_given_none(folder: Path) -> None:
    app = page()
    press(app, "Skip")
    press(app, "Skip")
    press(app, "Edit")
    assert [field.label for field in app.text_input] == []
    assert 'data-fn-candidate="unanswerable-0003"' in press(app, "Cancel")
    assert verdicts(folder) == {}


def test_what_was_passed_over_comes_last(folder: Path) -> None:
    decide(folder, "two-0002", "accepted")
    questions = load_questions(folder)

    def ids(shown: str, *passed: str) -> list[str]:
        return [candidate.id.split("-0")[0] for candidate in in_turn(questions, shown, passed)]

    assert ids("") == ["single", "two", "unanswerable", "follow-up"]
    assert ids("undecided", "unanswerable-0003", "single-0001") == ["follow-up", "unanswerable", "single"]
    assert ids("accepted") == ["two"]
    assert ids("rejected") == []


def test_damaged_and_missing_folders_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = page()
    (folder / "decisions.json").write_text("{")
    html = html_of(app.run())
    assert 'role="alert"' in html
    assert "holds no decisions" in html
    (folder / "candidates.jsonl").unlink()
    assert "holds no questions to review" in html_of(app.run())
    monkeypatch.setattr(rooms, "question_folders", list)
    assert "There are none yet." in html_of(app.run())


def test_a_decision_that_cannot_be_written_is_told(folder: Path) -> None:
    app = page()
    (folder / "decisions.json").mkdir()
    html = press(app, "Accept")
    assert 'role="alert"' in html


def test_markup_of_models_is_text(folder: Path) -> None:
    questions = load_questions(folder)
    first, second, *_ = questions.candidates
    html = candidate_html(first, "accepted", questions.provenance[first.id])
    assert "&lt;img src=x onerror=alert(1)&gt; **tower** [of](http://evil.example)?" in html
    assert HOSTILE not in html
    assert f'<mark class="fn-quote" data-fn-mark>{LIT}</mark>' in html
    assert '<span class="fn-verdict">accepted</span>' in html
    both = candidate_html(second, "undecided", questions.provenance[second.id])
    assert both.count("<mark") == 2
    assert HOME in both
    assert "fn-verdict" not in both
