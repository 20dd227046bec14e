"""Answers and whole conversations as Markdown, the quoted words as footnotes."""

import re
from collections.abc import Sequence
from pathlib import PurePath

from app.conversations import TurnRecord
from app.withheld import GONE, is_withheld
from generator.answer import Answer, Citation
from generator.markers import code_spans

_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|~$"})
_MARKER = re.compile(r"\[(\d+)\]")


def with_footnotes(answer: Answer, prefix: str = "") -> str:
    """The answer in Markdown: [^1] for [1], and the quoted words at the end, whose own marks mean nothing.

    `prefix` goes before the numbers, which must differ between the answers of one document.
    """
    if not answer.citations:
        return answer.text
    notes = "\n".join(_note(citation, prefix) for citation in answer.citations)
    return f"{_marked(answer, prefix)}\n\n{notes}"


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


def _marked(answer: Answer, prefix: str) -> str:
    numbers = {str(citation.number) for citation in answer.citations}
    code = code_spans(answer.text)

    def mark(found: re.Match[str]) -> str:
        in_code = any(low <= found.start() < high for low, high in code)
        return found[0] if in_code or found[1] not in numbers else f"[^{prefix}{found[1]}]"

    return _MARKER.sub(mark, answer.text)


def _note(citation: Citation, prefix: str) -> str:
    page = f", page {citation.page}" if citation.page else ""
    words = GONE if is_withheld(citation) else f'"{plain(citation.quote)}"'
    return f"[^{prefix}{citation.number}]: {plain(PurePath(citation.source).name)}{page}: {words}"
