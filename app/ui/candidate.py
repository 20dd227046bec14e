"""A written question as HTML: what is asked, what is to be answered, and the words that it rests on."""

from collections.abc import Mapping
from typing import Any

from app.ui.markup import escaped
from app.ui.source import Span, source_html, whole
from app.ui.views import place
from eval.synthesis.candidate import Candidate, Kind
from indexer.document import Document
from indexer.store.records import StoredChunk

KIND_WORDS: Mapping[Kind, str] = {
    "single": "One passage",
    "two": "Two documents",
    "unanswerable": "No answer in the documents",
    "follow-up": "Follow-up",
}
_SCORES: Mapping[str, str] = {
    "rank_1": "Rank of the passage in the search",
    "rank_2": "Rank of the second passage",
    "reading_f1": "A second reading agrees (F1)",
    "one_passage_f1": "One passage alone agrees (F1)",
    "nearest": "Words shared with the nearest other question",
}


def candidate_html(candidate: Candidate, verdict: str, provenance: Mapping[str, Any]) -> str:
    """Everything that a person needs to decide, with the quotes marked in their passages."""
    kind = KIND_WORDS[candidate.kind]
    decided = "" if verdict == "undecided" else f' <span class="fn-verdict">{escaped(verdict)}</span>'
    return (
        f'<article class="fn-turn fn-candidate" data-fn-candidate="{escaped(candidate.id)}">'
        f'<p class="fn-kind">{escaped(kind)}{decided}</p>{_before_html(candidate)}'
        f'<h2 class="fn-question" dir="auto">{escaped(candidate.question)}</h2>{_answer_html(candidate)}'
        f"{''.join(_passage_html(candidate, passage) for passage in candidate.passages)}"
        f"{_details_html(candidate, provenance)}</article>"
    )


def _before_html(candidate: Candidate) -> str:
    turns = "".join(
        f'<p dir="auto">{escaped(question)}</p><p dir="auto">{escaped(answer)}</p>'
        for question, answer in candidate.turns
    )
    return f'<p class="fn-label">Asked before</p><blockquote class="fn-before">{turns}</blockquote>' if turns else ""


def _answer_html(candidate: Candidate) -> str:
    if not candidate.answerable:
        return '<p class="fn-abstained">The documents do not say.</p>'
    return f'<div class="fn-answer" dir="auto"><p>{escaped(candidate.answer)}</p></div>'


def _passage_html(candidate: Candidate, passage: StoredChunk) -> str:
    """The passage; a quote that is in it is marked."""
    chunk = passage.chunk
    held = [
        Span(quote.start - chunk.start, quote.end - chunk.start)
        for quote in candidate.quotes
        if quote.document_id == chunk.document_id and chunk.start <= quote.start and quote.end <= chunk.end
    ]
    text = Document(chunk.document_id, passage.source, passage.title, "text/plain", "", chunk.text)
    title = place(passage.title, passage.source, chunk.page)
    return (
        f'<section class="fn-passage"><h3 class="fn-title" dir="auto">{escaped(title)}</h3>'
        f'<p class="fn-path"><bdi>{escaped(passage.source)}</bdi>, characters {chunk.start} to {chunk.end}</p>'
        f"{source_html(text, whole(text), held[0] if held else None)}</section>"
    )


def _details_html(candidate: Candidate, provenance: Mapping[str, Any]) -> str:
    told = {name: f"{candidate.scores[key]:g}" for key, name in _SCORES.items() if key in candidate.scores}
    if candidate.self_contained != candidate.question:
        told["Searched for"] = candidate.self_contained
    told |= {
        "Written by": str(provenance.get("model", "")),
        "Prompts": ", ".join(map(str, provenance.get("prompts", ()))),
        "Seed": str(provenance.get("seed", "")),
        "Passages": ", ".join(map(str, provenance.get("chunks", ()))),
        "Run": str(provenance.get("run", "")),
        "Question": candidate.id,
    }
    rows = "".join(f'<dt>{escaped(name)}</dt><dd dir="auto">{escaped(value)}</dd>' for name, value in told.items())
    return f'<details class="fn-meta" open><summary>Filters and provenance</summary><dl>{rows}</dl></details>'
