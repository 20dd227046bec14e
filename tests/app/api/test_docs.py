"""docs/api.md names what the program has, and nothing else."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from app.api.application import create_app
from app.api.keys import SCOPES
from app.api.protocol import Citation, FootnoteFields, FootnoteOptions, LeftOut, Sentence, Spent
from app.commands.ask import answer_json
from app.sections.serving import ServerSection
from app.settings import ROOT, load_settings
from generator import answer as answers
from generator.usage import Usage
from indexer.document import Chunk
from retriever import select
from retriever.expansion import Expansion
from retriever.hit import Hit, Part

CHUNK = Chunk("d:0", "d", "Tall", 0, 4, ("Tower",), 3)
HIT = Hit(CHUNK, "/p/tower.md", "Tower", 1.0, 1, "bm25", {"bm25": Part(1.0, 1)})
BARE = answers.Answer("Tall.", (), (), False, "How tall?")
WHOLE = answers.Answer(  # every field says something
    "Tall [1].",
    (answers.Citation(1, "d:0", "d", "/p/tower.md", 3, 0, 4, "Tall", 1.0),),
    (HIT,),
    False,
    "How tall?",
    {"total": 1.5},
    "tiny",
    1,
    2,
    (answers.Sentence("Tall [1].", 0, 9, 0.2, False, (1,)),),
    "words",
    "answer-1",
    Usage(1, 2, 3),
    -0.5,
    0.25,
    (select.LeftOut(HIT, "tokens"),),
    Expansion("hyde", ("It is tall.",), "hyde-1", "late"),
    ("not reranked in time",),
)
TEXT = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.fixture
def schema(home: Any) -> Any:
    return create_app(load_settings(None, {"FOOTNOTE_HOME": str(home)})).openapi()


def test_every_endpoint_is_described_with_its_status(schema: Any) -> None:
    described = set(re.findall(r"`(GET|POST|DELETE) (/[^`]*)`", TEXT))
    there = {(method.upper(), path) for path, operations in schema["paths"].items() for method in operations}
    assert described == there
    promised = {
        status for operations in schema["paths"].values() for one in operations.values() for status in one["responses"]
    }
    errors = TEXT.split("## Errors")[1].split("## Keys")[0]
    assert {status for status in promised if status >= "400"} == set(re.findall(r"\b[45]\d\d\b", errors))


def test_every_field_scope_and_setting_is_one() -> None:
    table = TEXT.split("## What an answer carries")[1].split("## Errors")[0]
    fields = set(FootnoteFields.model_fields)
    first_cells = {
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert first_cells == fields
    for option in FootnoteOptions.model_fields:
        assert f'"footnote": {{"{option}"' in table
    assert set(re.findall(r"--scope (\w+)", TEXT)) <= set(SCOPES)
    for setting in re.findall(r"server\.(\w+)", TEXT):
        assert setting in {*ServerSection.model_fields, "db"}
    assert f":{ServerSection().port}/" in TEXT


@pytest.mark.parametrize(
    ("name", "model"), [("citations", Citation), ("sentences", Sentence), ("left_out", LeftOut), ("usage", Spent)]
)
def test_every_field_within_a_field_is_named(name: str, model: type[BaseModel]) -> None:
    (row,) = (line for line in TEXT.splitlines() if line.startswith("| `") and f"`{name}`" in line.split("|")[1])
    assert set(model.model_fields) <= set(re.findall(r"`(\w+)`", row.split("|")[2]))


@pytest.mark.parametrize("answer", [BARE, WHOLE], ids=["bare", "whole"])
def test_an_answer_has_the_fields_that_are_described(answer: answers.Answer) -> None:
    """As JSON, since the endpoint sends what it made without asking the schema."""
    sent = {**answer_json(answer), "ignored": []}
    read = FootnoteFields.model_validate_json(json.dumps(sent), strict=True)
    assert read.model_dump(mode="json") == json.loads(json.dumps(sent))
    with pytest.raises(ValidationError):
        FootnoteFields.model_validate({**sent, "more": 1})


def test_the_answer_that_is_held_against_them_says_something_in_every_field() -> None:
    told = answer_json(replace(WHOLE, abstained=True))
    assert [name for name, value in told.items() if not value] == []
