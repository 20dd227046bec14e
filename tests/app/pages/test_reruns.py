"""Nothing is encoded, searched or written twice, whatever is done to the page: counted where the models are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from generator.chat import Pieces, Written
from generator.prompt import Prompt
from retriever.request import SearchRequest, SearchResult
from retriever.search import Retriever
from tests.app.pages.conftest import click, field, page


class Model:
    """A chat model that counts what it is asked."""

    name, context_tokens, follows_instructions = "counting", 4096, False

    def __init__(self) -> None:
        self.asked: list[str] = []

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def stream(self, prompt: Prompt, max_tokens: int = 512) -> Pieces:
        self.asked.append(prompt.question)
        number = next(n for n, hit in enumerate(prompt.hits, 1) if "34 metres" in hit.chunk.text)
        yield f"The tower is 34 metres tall [{number}]."
        return Written()


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    counting = Model()
    monkeypatch.setattr("app.wiring._embedded", lambda *settings: counting)
    return counting


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queries that reach the retriever."""
    queries: list[str] = []
    find = Retriever.find

    def counting(self: Retriever, request: SearchRequest) -> SearchResult:
        queries.append(request.query)
        return find(self, request)

    monkeypatch.setattr(Retriever, "find", counting)
    return queries


def test_a_rerun_encodes_searches_and_writes_nothing(
    footnote: Any, papers: Path, encoder: Any, model: Model, searched: list[str]
) -> None:
    assert footnote("ingest", papers).code == 0
    encoder.encoded.clear()
    app = page().run()
    assert (encoder.encoded, searched, model.asked) == ([], [], []), "drawing the page is no work for a model"
    app.chat_input[0].set_value("How tall is the tower?").run()
    (turn,) = app.session_state.session.chat.turns
    assert turn.answer is not None and not turn.answer.abstained

    for reference in ("c.0.1", "h.0.1", ""):
        app.session_state.session.chat.open(reference)
        app.run()
    app.button_group[0].set_value("down").run()
    click(app, "No, thanks")
    field(app.text_input, "Find a conversation").set_value("tower").run()
    again = page()
    again.query_params["c"] = app.query_params["c"]
    again.run().run()
    assert not again.exception
    assert encoder.encoded == searched == model.asked == ["How tall is the tower?"]

    click(again, "Regenerate")
    assert len(encoder.encoded) == len(searched) == len(model.asked) == 2
