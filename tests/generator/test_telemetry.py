"""Spans: their names, parents, times and attributes, no text unless asked for, and a collector that gets them."""

import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from generator.answer import Answer, Citation
from generator.prompt import Message, Prompt
from generator.telemetry import send_to, spans_to
from generator.trace import StageTime, Trace
from generator.usage import Usage
from indexer.errors import ConfigError
from retriever.expansion import Expansion
from retriever.hit import Hit, Part
from retriever.select import LeftOut

pytest.importorskip("opentelemetry.sdk", reason="the extra footnote[telemetry] is not installed")
ROOT = Path(__file__).parents[2]
MS = 1_000_000
SECRETS = ("How tall is the secret tower", "Nobody may know this passage", "It is confidential", "Be brief", "tower.md")


@pytest.fixture
def trace(hit: Callable[..., Hit]) -> Trace:
    passage = hit(f"{SECRETS[1]}.")
    passage = Hit(
        passage.chunk, f"/{SECRETS[4]}", SECRETS[4], 0.8, 1, "convex", {"bm25": Part(7.5, 1), "dense": Part(0.5, 2)}
    )
    citation = Citation(1, passage.chunk.id, "d", passage.source, None, 0, 6, SECRETS[2], 1.0)
    query = f"{SECRETS[0]}?"
    prompt = Prompt((Message("system", SECRETS[3]), Message("user", query)), (passage,), 50, query, "answer-1")
    timings = MappingProxyType({"search": 20.0, "first_token": 60.0, "generate": 70.0, "total": 100.0})
    answer = Answer(f"{SECRETS[2]} [1]", (citation,), (passage,), False, query, timings, "tiny", 2)
    out = (LeftOut(passage, "repeat"), LeftOut(passage, "rank"), LeftOut(passage, "rank"))
    answer = replace(answer, prompt_version="answer-1", usage=Usage(1, 40, 7), left_out=out)
    stages = (StageTime("search", 1_000 * MS, 1_020 * MS), StageTime("generate", 1_030 * MS, 1_100 * MS))
    return Trace("abc", 1_000 * MS, 1_100 * MS, stages, "things", 5, 512, answer, prompt, "")


def exported(trace: Trace, **options: bool) -> list[Any]:
    """The finished spans, children first."""
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    memory = InMemorySpanExporter()
    spans_to(SimpleSpanProcessor(memory), "openai_compatible", **options)(trace)
    return list(memory.get_finished_spans())


def test_one_span_an_answer_with_a_child_a_stage(trace: Trace) -> None:
    search, generate, whole = exported(trace)
    assert [span.name for span in (search, generate, whole)] == [
        "retrieval things",
        "chat tiny",
        "invoke_workflow answer",
    ]
    assert whole.parent is None
    assert search.parent.span_id == generate.parent.span_id == whole.context.span_id
    assert (search.start_time, search.end_time) == (1_000 * MS, 1_020 * MS)
    assert (whole.start_time, whole.end_time) == (1_000 * MS, 1_100 * MS)
    assert whole.attributes["gen_ai.operation.name"] == "invoke_workflow"
    assert (whole.attributes["gen_ai.usage.input_tokens"], whole.attributes["gen_ai.usage.output_tokens"]) == (40, 7)
    assert (whole.attributes["footnote.left_out.repeat"], whole.attributes["footnote.left_out.rank"]) == (1, 2)
    assert search.attributes["gen_ai.operation.name"] == "retrieval"
    assert (search.attributes["footnote.best.bm25"], search.attributes["footnote.best.dense"]) == (7.5, 0.5)
    assert generate.attributes["gen_ai.operation.name"] == "chat"
    assert generate.attributes["gen_ai.request.model"] == "tiny"
    assert generate.attributes["gen_ai.prompt.name"] == "answer-1"
    assert generate.attributes["gen_ai.usage.output_tokens"] == 7
    assert (
        generate.attributes["gen_ai.response.time_to_first_chunk"] == 0.03
    )  # generating began after 30 ms, wrote at 60
    assert whole.resource.attributes["service.name"] == "footnote"


def test_no_text_unless_it_is_asked_for(trace: Trace) -> None:
    silent = "".join(span.to_json() for span in exported(trace))
    assert not [secret for secret in SECRETS if secret in silent]
    open_ = "".join(span.to_json() for span in exported(trace, with_content=True))
    assert all(secret in open_ for secret in SECRETS[:4])


def test_what_was_searched_for_beside_the_question_has_a_span(trace: Trace) -> None:
    assert trace.answer is not None
    wide = replace(trace.answer, expansion=Expansion("hyde", (SECRETS[2],), "hyde-1"), notes=("Not reranked: late.",))
    stages = (StageTime("expand", 990 * MS, 999 * MS), *trace.stages)
    for with_content in (False, True):
        expand, *_, whole = exported(replace(trace, stages=stages, answer=wide), with_content=with_content)
        assert (expand.name, expand.attributes["footnote.expansion.kind"]) == ("expand", "hyde")
        assert (expand.attributes["footnote.expansion.texts"], expand.attributes["gen_ai.prompt.name"]) == (1, "hyde-1")
        assert (SECRETS[2] in str(expand.attributes)) is with_content
        assert whole.attributes["footnote.notes"] == 1


def test_an_error_is_told_by_its_type(trace: Trace) -> None:
    failed = Trace("abc", 0, MS, trace.stages, "things", 5, 512, None, None, "ModelError")
    search, generate, whole = exported(failed)
    assert generate.attributes["error.type"] == whole.attributes["error.type"] == "ModelError"
    assert "error.type" not in search.attributes
    assert not whole.status.is_ok
    (*_, stopped) = exported(Trace("abc", 0, MS, (), "things", 5, 512, None, None, ""))
    assert stopped.attributes["footnote.stopped"] is True


@pytest.fixture
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A collector: keeps the path and body of every post."""
    got: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    server.server_close()


ASK = """
    import sys
    from app.settings import load_settings
    from app.wiring import build_observer
    from generator.trace import Trace, StageTime
    observe = build_observer(load_settings())
    if observe:
        observe(Trace("abc", 1, 9, (StageTime("search", 2, 3),), "things", 5, 512, None, None, ""))
    loaded = sorted({name.partition(".")[0] for name in sys.modules} & {"opentelemetry", "requests"})
    print(loaded)
"""


def run(tmp_path: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("FOOTNOTE_", "OTEL_"))}
    environ |= {"FOOTNOTE_HOME": str(tmp_path), **variables}
    command = [sys.executable, "-c", textwrap.dedent(ASK)]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)


def test_a_collector_gets_the_spans_before_the_process_ends(
    tmp_path: Path, collector: tuple[str, list[tuple[str, bytes]]]
) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    url, got = collector
    done = run(tmp_path, FOOTNOTE_TELEMETRY__OTLP_ENDPOINT=url)
    assert done.returncode == 0, done.stderr
    ((path, body),) = got
    assert path == "/v1/traces"
    spans = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
    assert {span.name for span in spans} == {"retrieval things", "invoke_workflow answer"}


def test_off_means_no_import_and_no_connection(tmp_path: Path, collector: tuple[str, list[tuple[str, bytes]]]) -> None:
    url, got = collector
    done = run(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=url)  # somebody else's variable turns nothing on
    assert (done.returncode, done.stdout.strip(), got) == (0, "[]", [])


def test_a_missing_package_and_a_wrong_address_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no http address"):
        send_to("127.0.0.1:4318", "footnote")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        send_to("http://127.0.0.1:4318", "footnote")
    assert "requirements-telemetry.txt" in caught.value.remedy


def test_messages_are_json(trace: Trace) -> None:
    *_, whole = exported(trace, with_content=True)
    assert json.loads(whole.attributes["gen_ai.input.messages"])[0]["role"] == "user"
