"""`ask`: an answer that streams, then its footnotes."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from app.commands.search import hit_json, place
from app.display import count, note, shorten, show
from app.door import emit, plain
from app.markdown import DOUBT, with_doubts
from app.settings import Settings
from app.wiring import build_pipeline, open_collection
from generator.answer import Answer, Citation
from generator.pipeline import Done, Found, Pipeline, Stage, Token
from indexer.errors import ModelError
from indexer.filter import EVERYTHING, Filter
from retriever.hit import Hit

CLOSEST, CLOSEST_CHARS = 3, 220


def run_ask(
    settings: Settings,
    name: str,
    question: str,
    as_json: bool,
    query: str | None = None,
    asked: Filter = EVERYTHING,
) -> None:
    """Answer one question from the documents of a collection that hold a filter.

    `query` says the question in words that need no conversation.
    """
    pipeline = build_pipeline(settings, open_collection(settings, name))
    if as_json:
        answer = pipeline.answer(question, query=query, asked=asked)
        return emit({"collection": name, "question": question, **answer_json(answer)})
    return print_answer(stream(pipeline, question, query, asked))


def stream(pipeline: Pipeline, question: str, query: str | None = None, asked: Filter = EVERYTHING) -> Answer:
    """Answer a question; on a terminal the words are seen as they come, until the checked answer replaces them."""
    answer: Answer | None = None
    written = ""
    hits: tuple[Hit, ...] = ()
    try:
        with _live() as update:
            for event in pipeline.ask(question, query=query, asked=asked):
                if isinstance(event, Stage):
                    update(written or f"{event.name} ...", not written)
                elif isinstance(event, Found):
                    hits = event.hits
                elif isinstance(event, Token):
                    written += event.text
                    update(written, False)
                elif isinstance(event, Done):
                    answer = event.answer
    except ModelError:
        _print_closest(hits)
        raise
    assert answer is not None, "the pipeline ended without an answer"
    return answer


def print_answer(answer: Answer) -> None:
    """Print the answer, then each footnote: number, place, and the quoted words; or what came closest."""
    show(with_doubts(answer))
    if answer.abstained and answer.hits:
        show("\nThe closest passages:")
        _print_closest(answer.hits)
    if answer.citations:
        show()
    for citation in answer.citations:
        show(f'[{citation.number}] {place(citation.source, citation.page)}: "{one_line(citation.quote)}"', "cyan")
    if answer.unsupported:
        show()
        show(f"{DOUBT} No passage found says so: {count(len(answer.unsupported), 'sentence')}.", "yellow")
    if answer.dropped_markers:
        note(f"({count(answer.dropped_markers, 'marker')} dropped: no such passage, or none that says so)")
    if answer.moved_markers:
        note(f"({count(answer.moved_markers, 'marker')} moved to the passage that says so)")
    for line in answer.notes:
        note(f"({line})")


def _print_closest(hits: Sequence[Hit]) -> None:
    """What was found, where no answer was written."""
    for hit in hits[:CLOSEST]:
        show(f"{place(hit.source, hit.chunk.page)}: {shorten(hit.chunk.text, CLOSEST_CHARS)}", "dim")


def answer_json(answer: Answer) -> dict[str, Any]:
    """The shape of an answer that other programs rely on."""
    return {
        "answer": answer.text,
        "abstained": answer.abstained,
        "query": answer.query,
        "citations": [_citation_json(citation) for citation in answer.citations],
        "hits": [hit_json(hit) for hit in answer.hits],
        "timings_ms": {stage: round(spent, 1) for stage, spent in answer.timings_ms.items()},
        "model": answer.model,
        **answer.checks(),
    }


def one_line(words: str) -> str:
    """Quoted words without their line breaks."""
    return " ".join(words.split())


def _citation_json(citation: Citation) -> dict[str, Any]:
    return {
        "number": citation.number,
        "document": citation.document_id,
        "source": citation.source,
        "page": citation.page,
        "start": citation.start,
        "end": citation.end,
        "quote": citation.quote,
        "support": citation.support,
    }


class _Update(Protocol):
    def __call__(self, text: str, dim: bool) -> None: ...


@contextmanager
def _live() -> Iterator[_Update]:
    if not sys.stdout.isatty():
        yield lambda text, dim: None
        return
    with Live(console=Console(highlight=False), transient=True, vertical_overflow="visible") as live:
        yield lambda text, dim: live.update(Text(plain(text), "dim" if dim else ""))
