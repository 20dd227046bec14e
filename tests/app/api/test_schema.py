"""Schemathesis over the whole API: what the schema promises is kept, whatever is sent. The same cases every time."""

from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.strategies import booleans
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.api.application import create_app
from app.caller import ANYBODY
from app.settings import load_settings

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 30  # of each kind for each operation
SEED = 20261122
WITHOUT_INPUT = {"/v1/models", "/collections", "/health", "/ready", "/metrics"}


@pytest.fixture
def api(home: Any, encoder: Any, model: Any, tower: str) -> Any:
    variables = {"FOOTNOTE_HOME": str(home), "FOOTNOTE_GENERATOR__BASE_URL": model.base_url}
    app = create_app(load_settings(None, {**variables, "FOOTNOTE_SERVER__INGESTS": "1000000"}))
    app.state.service.warming.state.ready = True  # a server that is not ready says 503, as it should
    return app


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_the_api_keeps_what_its_schema_promises(api: Any, tower: str, mode: GenerationMode) -> None:
    """In the positive mode requests keep the schema, in the negative one they break it. Every other one is about a
    collection and a document that are there, so that there is something to answer."""
    statuses: Counter[tuple[str, int]] = Counter()
    document = api.state.service.library.reading(ANYBODY, tower).documents()[0].id
    for operation in operations(api):
        if mode is GenerationMode.NEGATIVE and operation.path in WITHOUT_INPUT:
            continue

        @seed(SEED)
        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(mode), known=booleans())
        def check(case: Any, known: bool) -> None:
            if known:
                name_what_is_there(case, tower, document)
            answered = case.call(base_url="http://localhost")
            statuses[f"{case.method} {case.operation.path}", answered.status_code] += 1
            case.validate_response(answered, checks=CHECKS)

        check()
    assert not [key for key in statuses if key[1] >= 500]
    if mode is GenerationMode.POSITIVE:
        answered = {name for name, status in statuses if status < 300}
        silent = {f"{operation.method.upper()} {operation.path}" for operation in operations(api)} - answered
        # Nobody can guess the number of an upload or of an answer.
        assert silent == {"GET /documents/ingests/{ingest_id}", "POST /feedback"}


def operations(api: Any) -> list[Any]:
    schema = schemathesis.openapi.from_asgi("/openapi.json", api)
    return [found.ok() for found in schema.get_all_operations()]


def name_what_is_there(case: Any, collection: str, document: str) -> None:
    for place in (case.body, case.query, case.path_parameters):
        for name in ("model", "collection"):
            if isinstance(place, dict) and name in place:
                place[name] = collection
    if isinstance(case.body, dict) and isinstance(case.body.get("messages"), list):
        case.body["messages"].append({"role": "user", "content": "How tall is the tower?"})
    if case.path_parameters and "document_id" in case.path_parameters:
        case.path_parameters["document_id"] = document
        case.query["collection"] = collection
