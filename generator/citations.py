"""From an answer's markers to footnotes: each one an exact span of a stored document, or none."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from generator.align import Evidence, Support, has_content
from generator.answer import Citation, Sentence
from generator.entailment import Entailment, Pair
from generator.markers import Mark, Marked, code_blocks, code_spans, put_in, take_out
from generator.sentences import split_sentences
from indexer.errors import ModelError
from retriever.hit import Hit

logger = logging.getLogger(__name__)

SUPPORT_FLOOR = 0.3  # a citation that supports its sentence less is moved or left out: none is better than a wrong one
SUPPORTED = 0.45  # a sentence with less is marked as unsupported (bench/support.py); above what a contradiction leaves
CLEAR = 0.6  # what a marker is moved to, or put on unasked, supports the sentence so well
WORDS = "words"  # what checks where no entailment does
_AFFIRMED = 0.5
_ADDED = 0.15  # share of a sentence that a passage must have beside the others it is cited with
_HEADING = re.compile(r"#{1,6}\s")
_ITEM = re.compile(r"^\s*(?:[-*+\u2022]|\d{1,3}[.)])\s+")
_RULE = frozenset("|:- \t")  # what the line between the head of a table and its rows is made of

Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Cited:
    """An answer whose markers [1], [2], ... each name one citation, numbered in order of first use."""

    text: str
    citations: tuple[Citation, ...]
    sentences: tuple[Sentence, ...]
    dropped: int  # markers that named no passage
    unsupported: int  # markers that no passage bears out
    moved: int  # markers that were put on the passage that supports the sentence
    checked_by: str


@dataclass(frozen=True, slots=True)
class _Checked:
    """Sentences of an answer, and for each of them the best span of every passage."""

    plain: str
    spans: Spans
    found: tuple[tuple[Support, ...], ...]
    evidence: Evidence
    texts: Sequence[str]
    by: str

    def quote(self, sentence: int, passage: int) -> str:
        """Words of a passage that support a sentence best."""
        support = self.found[sentence][passage]
        return self.texts[passage][support.start : support.end]


@dataclass(slots=True)
class _Footnotes:
    """Citations as they are numbered, and where their markers go."""

    hits: Sequence[Hit]
    numbered: dict[tuple[int, int, int], Citation] = field(default_factory=dict)
    placed: dict[int, list[int]] = field(default_factory=dict)
    of_sentence: dict[int, list[int]] = field(default_factory=dict)

    def add(self, at: int, sentence: int, passage: int, support: Support) -> None:
        key = (passage, support.start, support.end)
        if key not in self.numbered:
            self.numbered[key] = _citation(len(self.numbered) + 1, self.hits[passage], support)
        number = self.numbered[key].number
        for numbers in (self.placed.setdefault(at, []), self.of_sentence.setdefault(sentence, [])):
            if number not in numbers:
                numbers.append(number)


def cite(text: str, hits: Sequence[Hit], question: str = "", entailment: Entailment | None = None) -> Cited:
    """Check every marker and every sentence of an answer against the passages.

    Marker [n] means `hits[n-1]`. A marker that names no passage is dropped and counted; one whose passage does not
    support its sentence is moved to the passage that clearly does, or dropped too. What remains is renumbered, because
    one passage may give two quotes. Words decide; `entailment` is asked where they do not, and when it fails, words
    decide alone and the answer says so.
    """
    plain, marks = take_out(text)
    checked = _check(plain, hits, question, entailment)
    if not marks:
        marks = _unasked(checked)
    notes = _Footnotes(hits)
    dropped = unsupported = moved = 0
    for mark in marks:
        known = [number - 1 for number in mark.numbers if 1 <= number <= len(hits)]
        dropped += len(mark.numbers) - len(known)
        sentence = _closed(checked.spans, mark.at)
        if sentence is None or _in_code(plain, mark.at):
            unsupported += len(known)
            continue
        right = _borne_out(checked, sentence, known)
        for passage in right:
            notes.add(mark.at, sentence, passage, checked.found[sentence][passage])
        moved += len(set(right) - set(known))
        unsupported += len(known) - len(right)
    marked = put_in(plain, notes.placed)
    sentences = _sentences(checked, notes, marked)
    return Cited(marked.text, tuple(notes.numbered.values()), sentences, dropped, unsupported, moved, checked.by)


def without_markers(text: str) -> str:
    """The answer's words alone."""
    return take_out(text)[0].strip()


def footnoted_sentences(text: str) -> tuple[tuple[str, frozenset[int]], ...]:
    """Each sentence of an answer without its markers, and the numbers of the footnotes that it carries."""
    plain, marks = take_out(text)
    spans = _spans(plain)
    carried: list[set[int]] = [set() for _ in spans]
    for mark in marks:
        if (sentence := _closed(spans, mark.at)) is not None:
            carried[sentence].update(mark.numbers)
    return tuple((plain[low:high], frozenset(numbers)) for (low, high), numbers in zip(spans, carried, strict=True))


def _borne_out(checked: _Checked, sentence: int, named: Sequence[int]) -> list[int]:
    """Passages to cite in place of those that a marker names, each at most once.

    A passage stays if it supports the sentence clearly; or somewhat, and it has what the others that are named with it
    have not, or no passage supports the sentence clearly.
    """
    if not named:
        return []
    found = checked.found[sentence]
    right = [passage for passage in named if found[passage].score >= CLEAR]
    better = max(range(len(found)), key=lambda passage: (found[passage].score, -passage))
    for passage in named:
        if passage in right:
            continue
        holds = found[passage].score >= SUPPORT_FLOOR
        if not (holds and _adds(checked, sentence, passage, named)):
            if found[better].score >= CLEAR:
                passage = better
            elif not holds:
                continue
        if passage not in right:
            right.append(passage)
    return right


def _adds(checked: _Checked, sentence: int, passage: int, named: Sequence[int]) -> bool:
    """Whether passages that are named together say clearly less of a sentence without one of them."""
    others = [other for other in named if other != passage]
    low, high = checked.spans[sentence]
    claim = _said(checked.plain[low:high])
    quotes = {other: checked.quote(sentence, other) for other in named}
    without, whole = (
        checked.evidence.coverage(claim, " ".join(quotes[other] for other in kept)) for kept in (others, named)
    )
    return bool(others) and whole - without >= _ADDED


def _check(plain: str, hits: Sequence[Hit], question: str, entailment: Entailment | None) -> _Checked:
    texts = [hit.chunk.text for hit in hits]
    evidence, spans = Evidence(texts), _spans(plain)
    said = [_said(plain[low:high]) for low, high in spans]
    found = [_by_words(evidence, claim, question) for claim in said]
    by = WORDS if spans and hits else ""
    if entailment is not None:
        low, high = entailment.undecided
        unsure = [
            (at, passage)
            for at, supports in enumerate(found)
            for passage, support in enumerate(supports)
            if low <= support.score < high and _claims(plain, spans[at])
        ]
        pairs = [
            Pair(
                said[at],
                texts[passage][found[at][passage].start : found[at][passage].end],
                question,
                found[at][passage].score,
            )
            for at, passage in unsure
        ]
        try:
            scores = entailment.supports(pairs) if pairs else []
            by = entailment.name if by else ""
        except ModelError as error:
            logger.warning("The footnotes were checked by words alone: %s", error.message)
            scores, unsure = [], []
        for (at, passage), score in zip(unsure, scores, strict=True):
            found[at][passage] = replace(found[at][passage], score=score)
    return _Checked(plain, spans, tuple(map(tuple, found)), evidence, texts, by)


def _by_words(evidence: Evidence, claim: str, question: str) -> list[Support]:
    """The best span of each passage."""
    if has_content(claim):
        return [evidence.find(claim, passage, question) for passage in range(len(evidence))]
    # "Yes" says nothing by itself: what it affirms is the question, and that counts half.
    affirmed = [evidence.find(question, passage) for passage in range(len(evidence))]
    return [replace(support, score=support.score * _AFFIRMED) for support in affirmed]


def _spans(plain: str) -> Spans:
    """Sentences of an answer; a fenced block of code is one."""
    spans: list[tuple[int, int]] = []
    done = 0
    for low, high, _ in [*code_blocks(plain), (len(plain), len(plain), "")]:
        spans += [(done + start, done + end) for start, end in split_sentences(plain[done:low])]
        if low < high:
            spans.append((low, high))
        done = high
    return tuple(spans)


def _closed(spans: Spans, at: int) -> int | None:
    """Index of the sentence that a marker closes: the one it stands in, or behind; None if there is no sentence."""
    return max(0, sum(start < at for start, _ in spans) - 1) if spans else None


def _in_code(plain: str, at: int) -> bool:
    """Whether text runs together into code once its markers are taken out of it."""
    return any(low < at < high for low, high in code_spans(plain))


def _unasked(checked: _Checked) -> list[Mark]:
    """Markers for an answer that has none, where a passage clearly supports a sentence; not in code."""
    code = code_spans(checked.plain)
    marks = []
    for (_, end), supports in zip(checked.spans, checked.found, strict=True):
        scores = [support.score for support in supports]
        if scores and max(scores) >= CLEAR and not any(low < end <= high for low, high in code):
            marks.append(Mark(end, (scores.index(max(scores)) + 1,)))
    return marks


def _sentences(checked: _Checked, notes: _Footnotes, marked: Marked) -> tuple[Sentence, ...]:
    cited = {citation.number: citation for citation in notes.numbered.values()}
    sentences = []
    for at, (low, high) in enumerate(checked.spans):
        numbers = tuple(notes.of_sentence.get(at, ()))
        claim = _said(checked.plain[low:high])
        if not numbers and not _claims(checked.plain, checked.spans[at]):
            continue
        support = max((one.score for one in checked.found[at]), default=0.0)
        if len(numbers) > 1:
            together = " ".join(cited[number].quote for number in numbers)
            support = max(support, checked.evidence.coverage(claim, together))
        enough = SUPPORTED if has_content(claim) else SUPPORTED * _AFFIRMED
        start, end = marked.offset(low, behind=True), marked.offset(high, behind=False)
        text = marked.text[start:end]
        sentences.append(Sentence(text, start, end, round(support, 3), support >= enough, numbers))
    return tuple(sentences)


def _claims(plain: str, span: tuple[int, int]) -> bool:
    """Whether a line says anything: not a heading, the head of a table, or one without any word."""
    line = plain[slice(*span)]
    if _HEADING.match(line) or not any(char.isalnum() for char in line):
        return False
    following = plain[span[1] :].lstrip("\n").split("\n", 1)[0].strip()
    return not (line.startswith("|") and "-" in following and set(following) <= _RULE)


def _said(sentence: str) -> str:
    """What a sentence claims: code without its fence, a list's item without its number."""
    for _, _, code in code_blocks(sentence):
        return code
    return _ITEM.sub("", sentence)


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
