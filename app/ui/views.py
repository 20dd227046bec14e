"""The conversation as HTML: questions, answers with their footnotes, and what happened on the way."""

import re
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import PurePath

from app.ui.details import details_html, duration, list_html
from app.ui.markup import answer_html, escaped, line_html, without_open_marker
from app.ui.turn import Turn
from app.withheld import GONE, is_withheld
from generator.abstain import DECLINE
from generator.answer import Answer, Citation
from indexer.errors import FootnoteError
from retriever.hit import Hit

_HEADING_SIGN = re.compile(r"^#{1,6} ", re.MULTILINE)
CLOSEST = 3
NOTE_CHARS = 220
STAGES: Mapping[str, str] = {
    "load": "Loading the models",
    "rewrite": "Understanding the question",
    "expand": "Widening the search",
    "search": "Searching the documents",
    "rerank": "Weighing the passages",
    "select": "Choosing passages",
    "prompt": "Reading the passages",
    "read": "Reading the passages",
    "generate": "Writing",
    "write": "Writing",
    "cite": "Checking the footnotes",
}


def turn_html(turn: Turn, index: int) -> str:
    """One question and everything known of its answer; `index` makes the references of its footnotes unique."""
    return (
        f'<article class="fn-turn" data-fn-turn="{index}" data-fn-state="{_state(turn)}">'
        f'<h2 class="fn-question" dir="auto">{escaped(turn.question)}</h2>{_filters_html(turn)}'
        f"{_reply_html(turn, index)}</article>"
    )


def error_html(error: FootnoteError) -> str:
    """What went wrong and what to do, as two lines."""
    remedy = f"<p>{line_html(error.remedy)}</p>" if error.remedy else ""
    return f'<div class="fn-error" role="alert"><p><strong>{line_html(error.message)}</strong></p>{remedy}</div>'


def place(title: str, source: str, page: int | None) -> str:
    """How a document is named to the reader: its title, else its file name, and the page where there are pages."""
    name = title or PurePath(source).name or source
    return f"{name}, page {page}" if page else name


def _state(turn: Turn) -> str:
    if not turn.done:
        return "running" if turn.started else "waiting"
    if turn.failure:
        return "failed"
    if turn.answer is None:
        return "stopped"
    return "abstained" if turn.answer.abstained else "answered"


def _reply_html(turn: Turn, index: int) -> str:
    if turn.failure:
        return error_html(turn.failure) + (_closest_html(turn.hits, index) if turn.hits else "")
    if turn.answer:
        return _answer_html(turn, turn.answer, index)
    written = f'<div class="fn-answer" dir="auto">{_streaming_html(turn.text)}</div>' if turn.text else ""
    if turn.done:
        return written + '<p class="fn-meta">Stopped.</p>'
    return written + _steps_html(turn)


def _filters_html(turn: Turn) -> str:
    if not turn.filters:
        return ""
    return f'<p class="fn-meta fn-filters">Only documents with <bdi>{escaped("; ".join(turn.filters))}</bdi></p>'


def _steps_html(turn: Turn) -> str:
    """What is being done and for how long, after what was done."""
    steps = turn.steps[:]  # the thread of the turn adds to it
    doing = f'<span class="fn-pulse"></span><span class="fn-doing">{escaped(_doing(turn))}…</span>'
    if not steps:
        return f'<p class="fn-stage">{doing}</p>'
    done = [f"{_named(name)} {duration(end - begun)}" for (name, begun), (_, end) in pairwise(steps)]
    since = f'<span class="fn-since">{duration(time.monotonic() - steps[-1][1])}</span>'
    return f'<p class="fn-stage">{doing}{since}</p>{list_html(done)}'


def _named(stage: str) -> str:
    return STAGES.get(stage, stage.capitalize())


def _doing(turn: Turn) -> str:
    if turn.stopped:
        return "Stopping"
    if not turn.started:
        return "Waiting for the answer before"
    return _named(turn.stage) or "Starting"


def _streaming_html(text: str) -> str:
    return answer_html(without_open_marker(text), lambda number: f'<sup class="fn-chip fn-pending">{number}</sup>')


def _answer_html(turn: Turn, answer: Answer, index: int) -> str:
    cited = {citation.number: citation for citation in answer.citations}
    titles = {hit.chunk.document_id: hit.title for hit in answer.hits}

    def chip(number: int) -> str:
        if number not in cited:
            return ""
        citation = cited[number]
        where = escaped(place(titles.get(citation.document_id, ""), citation.source, citation.page))
        return (
            f'<button type="button" class="fn-chip" data-fn-open="c.{index}.{number}" title="{where}" '
            f'aria-label="Footnote {number}: {where}">{number}</button>'
        )

    head = '<p class="fn-abstained">The documents do not say.</p>' if answer.abstained else ""
    text = "" if answer.text == DECLINE else answer_html(answer.text, chip, _doubts(answer))
    tail = _closest_html(answer.hits, index) if answer.abstained else _notes_html(answer.citations, titles, index)
    return f'{head}<div class="fn-answer" dir="auto">{text}</div>{tail}{_meta_html(turn, answer)}'


def _doubts(answer: Answer) -> list[tuple[int, int]]:
    return [(sentence.start, sentence.end) for sentence in answer.unsupported]


def _notes_html(citations: tuple[Citation, ...], titles: Mapping[str, str], index: int) -> str:
    """The footnotes themselves, under the answer: where each points and the words it rests on."""
    if not citations:
        return ""
    notes = "".join(
        f'<li><button type="button" class="fn-note" data-fn-open="c.{index}.{citation.number}">'
        f'<span class="fn-number">{citation.number}</span>'
        f'<bdi class="fn-place">{escaped(place(titles.get(citation.document_id, ""), citation.source, citation.page))}'
        f"</bdi> {_quote_html(citation)}</button></li>"
        for citation in citations
    )
    return f'<ol class="fn-notes" aria-label="Footnotes">{notes}</ol>'


def _quote_html(citation: Citation) -> str:
    if is_withheld(citation):
        return f'<span class="fn-gone">{GONE}</span>'
    return f"<q>{escaped(_shortened(citation.quote))}</q>"


def _closest_html(hits: tuple[Hit, ...], index: int) -> str:
    """What was found although it does not answer, so that the reader can judge."""
    if not hits:
        return '<p class="fn-meta">Nothing in this collection comes near the question.</p>'
    items = "".join(
        f'<li><button type="button" class="fn-note" data-fn-open="h.{index}.{hit.rank}">'
        f'<bdi class="fn-place">{escaped(place(hit.title, hit.source, hit.chunk.page))}</bdi> '
        f"<span>{escaped(_shortened(hit.chunk.text))}</span></button></li>"
        for hit in hits[:CLOSEST]
    )
    return (
        f'<p class="fn-label">The closest passages</p><ul class="fn-notes" aria-label="Closest passages">{items}</ul>'
    )


def is_rewritten(turn: Turn) -> bool:
    """Whether something else was searched for than what was typed."""
    return turn.answer is not None and turn.answer.query.strip() not in ("", turn.question.strip())


def _meta_html(turn: Turn, answer: Answer) -> str:
    """The query that was searched for, and how the answer came about, in small print."""
    query = ""
    if is_rewritten(turn):
        query = f'<p class="fn-meta fn-query">Searched for: <q dir="auto">{escaped(answer.query)}</q></p>'
    notes = "".join(f'<p class="fn-meta fn-left-out">{escaped(line)}</p>' for line in answer.notes)
    return query + notes + details_html(answer, turn.elapsed_s)


def _shortened(text: str) -> str:
    """One line of at most `NOTE_CHARS` characters."""
    line = " ".join(_HEADING_SIGN.sub("", text).split())
    return line if len(line) <= NOTE_CHARS else line[: NOTE_CHARS - 1].rsplit(" ", 1)[0] + "…"
