"""Traces for OpenTelemetry: a span an answer, with a child a stage, in the conventions for generative AI.

https://opentelemetry.io/docs/specs/semconv/gen-ai/ ; what they do not name is under "footnote.". Nothing of
OpenTelemetry is imported before `send_to` is called.
"""

import json
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from generator.answer import Answer
from generator.trace import Observe, StageTime, Trace
from indexer.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanProcessor
    from opentelemetry.trace import Span

_PATH = "/v1/traces"
_TIMEOUT_S = 5.0
_OPERATIONS = {"search": "retrieval", "generate": "chat"}
Attributes = dict[str, str | int | float | bool]


def send_to(endpoint: str, provider: str, *, with_content: bool = False) -> Observe:
    """Send every trace to an OTLP/HTTP collector, in the background and at the process's end.

    Raises:
        ConfigError: the address is none, or the packages are missing.
    """
    if not endpoint.startswith(("http://", "https://")):
        raise ConfigError(
            f"telemetry.otlp_endpoint = {endpoint!r} is no http address.", "Such as http://127.0.0.1:4318."
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigError(
            f"telemetry.otlp_endpoint is set, and OpenTelemetry is not installed: {error}.",
            "Install it with `pip install -r requirements-telemetry.txt`, or unset telemetry.otlp_endpoint.",
        ) from error
    url = endpoint.rstrip("/").removesuffix(_PATH) + _PATH
    exporter = OTLPSpanExporter(endpoint=url, timeout=_TIMEOUT_S)
    return spans_to(BatchSpanProcessor(exporter), provider, with_content=with_content)


def spans_to(processor: "SpanProcessor", provider: str, *, with_content: bool = False) -> Observe:
    """Turn every trace into spans for a processor. `provider` says who runs the model."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import set_span_in_context

    tracers = TracerProvider(resource=Resource.create({"service.name": "footnote", "service.version": _version()}))
    tracers.add_span_processor(processor)
    tracer = tracers.get_tracer("footnote", _version())

    def observe(trace: Trace) -> None:
        whole = tracer.start_span("invoke_workflow answer", start_time=trace.began_ns)
        _tell(whole, _of_answer(trace, with_content), trace.error)
        context = set_span_in_context(whole)
        for place, stage in enumerate(trace.stages):
            span = tracer.start_span(_name(stage, trace), context, start_time=stage.began_ns)
            failed = trace.error if place == len(trace.stages) - 1 else ""  # an error ends the stage it happens in
            _tell(span, _of_stage(stage, trace, provider, with_content), failed)
            span.end(stage.ended_ns)
        whole.end(trace.ended_ns)

    return observe


def _tell(span: "Span", attributes: Mapping[str, Any], error: str) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attributes(attributes)
    if error:
        span.set_attribute("error.type", error)
        span.set_status(StatusCode.ERROR)


def _name(stage: StageTime, trace: Trace) -> str:
    """The conventions name a span by its operation and what it works on."""
    if stage.name == "search":
        return f"retrieval {trace.collection}"
    if stage.name == "generate":
        return f"chat {trace.answer.model}" if trace.answer else "chat"
    return stage.name


def _of_answer(trace: Trace, with_content: bool) -> Attributes:
    told: Attributes = {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "answer",
        "footnote.id": trace.id,
        "footnote.stopped": trace.answer is None and not trace.error,
    }
    answer = trace.answer
    if answer is None:
        return told
    told |= _tokens(answer) | {"footnote.abstained": answer.abstained, "footnote.citations": len(answer.citations)}
    told |= {"footnote.dropped_markers": answer.dropped_markers}
    told |= {f"footnote.left_out.{why}": n for why, n in Counter(out.why for out in answer.left_out).items()}
    if answer.doubt is not None:
        told["footnote.doubt"] = answer.doubt
    if answer.notes:
        told["footnote.notes"] = len(answer.notes)
    if with_content:
        told["gen_ai.input.messages"] = _messages("user", answer.query)
        told["gen_ai.output.messages"] = _messages("assistant", answer.text)
    return told


def _of_stage(stage: StageTime, trace: Trace, provider: str, with_content: bool) -> Attributes:
    if stage.name == "expand":
        return _of_expansion(trace.answer, with_content)
    if stage.name not in _OPERATIONS:
        return {}
    told: Attributes = {"gen_ai.operation.name": _OPERATIONS[stage.name], "gen_ai.provider.name": provider}
    if stage.name == "search":
        told |= {"gen_ai.provider.name": "footnote", "gen_ai.data_source.id": trace.collection}
        return told | {"gen_ai.request.top_k": trace.passages} | _of_retrieval(trace.answer, with_content)
    told |= {"gen_ai.request.max_tokens": trace.max_answer_tokens, "gen_ai.output.type": "text"}
    if trace.answer is None:
        return told
    first_ms = trace.answer.timings_ms.get("first_token")
    if first_ms is not None:
        began_ms = (stage.began_ns - trace.began_ns) / 1e6
        told["gen_ai.response.time_to_first_chunk"] = round(max(0.0, first_ms - began_ms) / 1000, 4)
    told |= {"gen_ai.request.model": trace.answer.model, "gen_ai.prompt.name": trace.answer.prompt_version}
    if trace.answer.usage and trace.answer.usage.calls == 1:  # else rewriting is counted in
        told |= _tokens(trace.answer)
    if with_content and trace.prompt:
        system, *rest = trace.prompt.messages
        told["gen_ai.system_instructions"] = json.dumps([{"type": "text", "content": system.content}])
        told["gen_ai.input.messages"] = json.dumps([_message(m.role, m.content) for m in rest])
    return told


def _of_expansion(answer: Answer | None, with_content: bool) -> Attributes:
    if answer is None or answer.expansion is None:
        return {}
    expansion = answer.expansion
    told: Attributes = {
        "footnote.expansion.kind": expansion.kind,
        "footnote.expansion.texts": len(expansion.texts),
        "gen_ai.prompt.name": expansion.prompt,
    }
    if with_content:
        told["footnote.expansion.content"] = json.dumps(expansion.texts)
    return told


def _of_retrieval(answer: Answer | None, with_content: bool) -> Attributes:
    if answer is None:
        return {}
    told: Attributes = {"footnote.hits": len(answer.hits)}
    for stage in sorted({name for hit in answer.hits for name in hit.parts}):
        told[f"footnote.best.{stage}"] = max(hit.parts[stage].score for hit in answer.hits if stage in hit.parts)
    if with_content:
        told["gen_ai.retrieval.query.text"] = answer.query
        documents = [{"id": hit.chunk.id, "score": hit.score, "content": hit.chunk.text} for hit in answer.hits]
        told["gen_ai.retrieval.documents"] = json.dumps(documents)
    return told


def _tokens(answer: Answer) -> Attributes:
    if answer.usage is None:
        return {}
    usage = answer.usage
    return {"gen_ai.usage.input_tokens": usage.prompt_tokens, "gen_ai.usage.output_tokens": usage.completion_tokens}


def _messages(role: str, text: str) -> str:
    return json.dumps([_message(role, text)])


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def _version() -> str:
    try:
        return version("footnote")
    except PackageNotFoundError:  # run from a folder, which is never installed
        return "0"
