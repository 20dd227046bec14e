"""From an answer's markers to footnotes: each one an exact span of a stored document, or none."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from generator.align import Support, align, has_content
from generator.answer import Citation
from generator.sentences import split_sentences
from retriever.hit import Hit

SUPPORT_FLOOR = 0.3  # a citation that supports its sentence less is left out: none is better than a wrong one
UNASKED_FLOOR = 0.6  # an answer without any marker gets those that are this sure
_AFFIRMED = 0.5
_RANGE = 10
_LIST = r"\d{1,9}(?:\s*(?:[,;&\u2013-]|and)\s*\d{1,9})*"
_MARKER = re.compile(rf"[ \t]*(?:\[\s*\^?\s*({_LIST})\s*\]|\u3010\s*({_LIST})\s*(?:\u2020[^\u3011]*)?\u3011)")
_SPACE_BEFORE_STOP = re.compile(r"[ \t]+(?=[.,;:!?](?:\s|$))")


@dataclass(frozen=True, slots=True)
class Cited:
    """An answer whose markers [1], [2], ... each name one citation, numbered in order of first use."""

    text: str
    citations: tuple[Citation, ...]
    dropped: int  # markers that named no passage
    unsupported: int  # markers whose passage did not support the sentence


@dataclass(frozen=True, slots=True)
class _Mark:
    """A marker taken out of the answer: the numbers in it, and where it stood in the text without markers."""

    at: int
    numbers: tuple[int, ...]


def cite(text: str, hits: Sequence[Hit], question: str = "") -> Cited:
    """Check every marker of an answer against the passage it names.

    Marker [n] means `hits[n-1]`. A marker that names no passage is dropped and counted; one whose passage does not
    support its sentence is dropped too. What remains is renumbered, because one passage may give two quotes.
    """
    plain, marks = _take_out(text)
    sentences = split_sentences(plain)
    if not marks:
        marks = _unasked(plain, sentences, hits, question)
    numbered: dict[tuple[int, int, int], Citation] = {}
    placed: dict[int, list[int]] = {}
    dropped = unsupported = 0
    for mark in marks:
        claim = _claim(plain, sentences, mark.at)
        for number in mark.numbers:
            if not 1 <= number <= len(hits):
                dropped += 1
                continue
            support = _support(claim, hits, number, question)
            if support.score < SUPPORT_FLOOR:
                unsupported += 1
                continue
            key = (number, support.start, support.end)
            if key not in numbered:
                numbered[key] = _citation(len(numbered) + 1, hits[number - 1], support)
            here = placed.setdefault(mark.at, [])
            if numbered[key].number not in here:
                here.append(numbered[key].number)
    return Cited(_put_in(plain, placed), tuple(numbered.values()), dropped, unsupported)


def without_markers(text: str) -> str:
    """The answer's words alone."""
    return _take_out(text)[0].strip()


def footnoted_sentences(text: str) -> tuple[tuple[str, frozenset[int]], ...]:
    """Each sentence of an answer without its markers, and the numbers of the footnotes that it carries."""
    plain, marks = _take_out(text)
    sentences = split_sentences(plain)
    carried: dict[tuple[int, int], set[int]] = {span: set() for span in sentences}
    for mark in marks:
        if sentences:
            carried[_closed(sentences, mark.at)].update(mark.numbers)
    return tuple((plain[low:high], frozenset(numbers)) for (low, high), numbers in carried.items())


def _take_out(text: str) -> tuple[str, list[_Mark]]:
    pieces: list[str] = []
    marks: list[_Mark] = []
    done = length = 0
    for found in _MARKER.finditer(text):
        piece = text[done : found.start()]
        pieces.append(piece)
        length += len(piece)
        marks.append(_Mark(length, _numbers(found.group(1) or found.group(2))))
        done = found.end()
    return "".join([*pieces, text[done:]]), marks


def _numbers(listed: str) -> tuple[int, ...]:
    """Numbers of "1, 2" and "1-3"."""
    numbers: list[int] = []
    for part in re.split(r"\s*(?:[,;&]|and)\s*", listed):
        first, *rest = (int(n) for n in re.split(r"\s*[\u2013-]\s*", part))
        last = rest[-1] if rest else first
        numbers += range(first, last + 1) if first <= last < first + _RANGE else [first, last]
    return tuple(dict.fromkeys(numbers))


def _claim(plain: str, sentences: Sequence[tuple[int, int]], at: int) -> str:
    low, high = _closed(sentences, at) if sentences else (0, 0)
    return plain[low:high]


def _closed(sentences: Sequence[tuple[int, int]], at: int) -> tuple[int, int]:
    """The sentence that a marker closes: the one it stands in, or behind."""
    before = [span for span in sentences if span[0] < at]
    return before[-1] if before else sentences[0]


def _support(claim: str, hits: Sequence[Hit], number: int, question: str) -> Support:
    background = [hit.chunk.text for hit in hits]
    text = hits[number - 1].chunk.text
    if has_content(claim):
        return align(claim, text, question, background)
    # "Yes" says nothing by itself: what it affirms is the question, and that counts half.
    affirmed = align(question, text, "", background)
    return replace(affirmed, score=affirmed.score * _AFFIRMED)


def _unasked(plain: str, sentences: Sequence[tuple[int, int]], hits: Sequence[Hit], question: str) -> list[_Mark]:
    """Markers for an answer that has none, where a passage clearly supports a sentence."""
    marks = []
    for low, high in sentences:
        scores = [_support(plain[low:high], hits, number, question).score for number in range(1, len(hits) + 1)]
        if scores and max(scores) >= UNASKED_FLOOR:
            marks.append(_Mark(high, (scores.index(max(scores)) + 1,)))
    return marks


def _citation(number: int, hit: Hit, support: Support) -> Citation:
    chunk = hit.chunk
    return Citation(
        number=number,
        chunk_id=chunk.id,
        document_id=chunk.document_id,
        source=hit.source,
        page=chunk.page,
        start=chunk.start + support.start,
        end=chunk.start + support.end,
        quote=chunk.text[support.start : support.end],
        support=round(support.score, 3),
    )


def _put_in(plain: str, placed: dict[int, list[int]]) -> str:
    pieces: list[str] = []
    done = 0
    for at, numbers in sorted(placed.items()):
        markers = "".join(f"[{number}]" for number in numbers)
        before = plain[done:at]
        space = "" if not before or before[-1].isspace() or (not before.strip() and not pieces) else " "
        pieces += [before, space + markers]
        done = at
    return _SPACE_BEFORE_STOP.sub("", "".join([*pieces, plain[done:]])).strip()
