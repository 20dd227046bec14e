"""Answers and whole conversations as Markdown: quoted words as footnotes, a sign behind what no passage says."""

import re
from collections.abc import Sequence
from pathlib import PurePath

from app.conversations import TurnRecord
from app.withheld import GONE, is_withheld
from generator.answer import Answer, Citation, Sentence
from generator.markers import code_blocks, code_spans

DOUBT = "[?]"  # behind a sentence that no passage supports
_LEGEND = f"{DOUBT} No passage found says so."

_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|~$"})
_MARKER = re.compile(r"\[(\d+)\]")
_MARKERS_BEHIND = re.compile(r"(?:[ \t]*\[\d+\])*")
_DOUBTS = re.compile(rf"(?: |\n\n){re.escape(DOUBT)}")


def with_footnotes(answer: Answer, prefix: str = "") -> str:
    """The answer in Markdown: [^1] for [1], and the quoted words at the end, whose own marks mean nothing.

    Sentences that no passage supports have a sign, and a line says what it means. `prefix` goes before the numbers,
    which must differ between the answers of one document.
    """
    legend = [_LEGEND] if answer.unsupported else []
    notes = ["\n".join(_note(citation, prefix) for citation in answer.citations)] if answer.citations else []
    return "\n\n".join([_marked(with_doubts(answer), answer, prefix), *legend, *notes])


def with_doubts(answer: Answer) -> str:
    """The answer with a sign behind every sentence that no passage supports."""
    signs = dict(_sign(answer.text, sentence) for sentence in answer.unsupported)
    pieces, done = [], 0
    for at, sign in sorted(signs.items()):
        pieces += [answer.text[done:at], sign]
        done = at
    return "".join([*pieces, answer.text[done:]])


def without_doubts(text: str) -> str:
    """An answer that a client sends back, without those signs; a text that does not explain them has none of them."""
    return _DOUBTS.sub("", text.replace(_LEGEND, "")) if _LEGEND in text else text


def conversation_markdown(title: str, turns: Sequence[TurnRecord]) -> str:
    """A conversation with all its footnotes: [^2-1] is the first footnote of the second answer."""
    parts = [f"# {plain(title)}"]
    for number, turn in enumerate(turns, 1):
        parts.append(f"## {plain(turn.question)}")
        if turn.filters:
            parts.append(f"*Only documents with {plain('; '.join(turn.filters))}*")
        if turn.answer is None:
            parts.append("*No answer was written.*")
            continue
        if turn.answer.query.strip() not in ("", turn.question.strip()):
            parts.append(f"*Searched for: {plain(turn.answer.query)}*")
        parts.append(with_footnotes(turn.answer, f"{number}-"))
    return "\n\n".join(parts) + "\n"


def plain(text: str) -> str:
    """Text as one line of Markdown in which no mark means anything."""
    return " ".join(text.split()).translate(_MARKS)


def _sign(text: str, sentence: Sentence) -> tuple[int, str]:
    """Where a sign is seen that belongs to a sentence, and the sign: in code it would be code, behind a fence no fence
    would end, and of a table's row what stands behind the last cell is not shown."""
    for low, high, _ in code_blocks(text):
        if low < sentence.end <= high:
            return high, f"\n\n{DOUBT}"
    if sentence.text.startswith("|") and sentence.text.endswith("|"):
        return sentence.end - 1, f" {DOUBT} " if text[sentence.end - 2] != " " else f"{DOUBT} "
    end = next((high for low, high in code_spans(text) if low < sentence.end < high), sentence.end)
    behind = _MARKERS_BEHIND.match(text, end)
    return (behind.end() if behind else end), f" {DOUBT}"


def _marked(text: str, answer: Answer, prefix: str) -> str:
    numbers = {str(citation.number) for citation in answer.citations}
    code = code_spans(text)

    def mark(found: re.Match[str]) -> str:
        in_code = any(low <= found.start() < high for low, high in code)
        return found[0] if in_code or found[1] not in numbers else f"[^{prefix}{found[1]}]"

    return _MARKER.sub(mark, text)


def _note(citation: Citation, prefix: str) -> str:
    page = f", page {citation.page}" if citation.page else ""
    words = GONE if is_withheld(citation) else f'"{plain(citation.quote)}"'
    return f"[^{prefix}{citation.number}]: {plain(PurePath(citation.source).name)}{page}: {words}"
