"""Verified citations on the sample documents: the real encoder, indexes and commands, and a server that says what it
is told to, some of it wrong."""

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from app.settings import ROOT
from indexer.load import load
from tests.app.test_end_to_end import Run, run
from tests.app.ui.conftest import ChatServer, passage_with

__all__ = ["run"]  # the fixture
pytestmark = pytest.mark.model

OBSERVATORY = ROOT / "data" / "corpus" / "observatory"
TEETH, BOOKED = "strips the finest wheel in it, which has 331 teeth", "Places are booked at the museum desk"
QUESTION = "What happens to the wheel with 331 teeth when a dial of the tide predictor is turned backwards?"


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    chat = ChatServer()
    Thread(target=chat.serve_forever, args=(0.05,), daemon=True).start()
    yield chat
    chat.shutdown()


@pytest.fixture(scope="module")
def asked(run: Run, server: ChatServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The answer under each way to check it."""
    run("ingest", OBSERVATORY)

    def written(prompt: str) -> list[str]:
        right = passage_with(TEETH, prompt)
        wrong = 1 if right > 1 else 2
        return [
            f"The finest wheel has 331 teeth [{right}]. ",
            f"It is stripped when a dial is turned backwards [{wrong}].\n\n",
            f"- A visitor ate it in 1950 [{right}].\n",
            "- Each crank is set to one tenth of a milimetre.\n\n",
            "```\ndial[1] = 0\n```",
        ]

    server.script = written
    config = tmp_path_factory.mktemp("config") / "footnote.toml"
    answers = {}
    for method in ("lexical", "encoder"):
        config.write_text(f'[generator]\nbase_url = "{server.base_url}"\nentailment = "{method}"\n', "utf-8")
        answers[method] = run("--config", config, "ask", QUESTION)
    return answers


@pytest.mark.parametrize("method", ["lexical", "encoder"])
def test_a_wrong_marker_moves_and_an_invention_is_marked(asked: dict[str, Any], method: str) -> None:
    answer = asked[method]
    finest, stripped, eaten, crank, code = answer["sentences"]
    assert [finest["supported"], stripped["supported"], eaten["supported"]] == [True, True, False]
    assert eaten["citations"] == []
    assert "331 teeth" in answer["citations"][finest["citations"][0] - 1]["quote"]
    assert "backwards" in answer["citations"][stripped["citations"][0] - 1]["quote"]
    assert (crank["supported"], crank["citations"]) == (True, [])
    assert (code["text"], code["supported"]) == ("```\ndial[1] = 0\n```", False)
    assert (answer["moved_markers"], answer["dropped_markers"]) == (1, 1)
    assert answer["checked_by"].startswith("words and encoder" if method == "encoder" else "words")
    for sentence in answer["sentences"]:
        assert answer["answer"][sentence["start"] : sentence["end"]] == sentence["text"]


@pytest.mark.parametrize("method", ["lexical", "encoder"])
def test_quotes_are_the_file_s_own_words_on_their_page(asked: dict[str, Any], method: str) -> None:
    manual = load(OBSERVATORY / "tide-predictor-manual.pdf")
    assert len(manual.pages) == 3
    pages = []
    for citation in asked[method]["citations"]:
        assert Path(citation["source"]).name == "tide-predictor-manual.pdf"
        assert manual.text[citation["start"] : citation["end"]] == citation["quote"]
        assert citation["page"] == bisect_right(manual.pages, citation["start"])
        pages.append(citation["page"])
    assert set(pages) == {2}
