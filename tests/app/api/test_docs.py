"""docs/api.md names what the program has, and nothing else."""

import re
from typing import Any

import pytest

from app.api.application import create_app
from app.api.keys import SCOPES
from app.api.protocol import FootnoteFields, FootnoteOptions
from app.sections.serving import ServerSection
from app.settings import ROOT, load_settings

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
