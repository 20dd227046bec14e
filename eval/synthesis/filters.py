"""What a written question must pass. Each check returns the candidate with its scores, or with a reason to drop it.

Round-trip consistency (Alberti et al. 2019, arXiv:1906.05416): a question is kept only if what it was made from can be
reached from it again, here by the served search and by a second reading that does not know the answer.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from eval.answer_metrics import holds, normalised, token_f1
from eval.dataset import Case
from eval.judge import JudgeModel
from eval.synthesis.author import read
from eval.synthesis.candidate import Candidate, Quote
from generator.align import align, has_content
from generator.answer import Answer
from generator.followup import needs_context
from generator.words import STOPWORDS
from indexer.store.records import StoredChunk
from retriever.hit import Hit

Search = Callable[[str, int], Sequence[Hit]]  # the served search: question, number of passages
CONSISTENT_F1 = 0.5  # of the second reading's answer with the first
QUOTED = 0.8  # share of a quote's content that one sentence of the passage must have
SAME_WORDS = 0.7  # Jaccard index of content words from which two questions are the same
CLEAR_WORDS = 4  # content words of a question with a pronoun: "How many pots did the museum have when it opened?"
READ_PASSAGES = 5  # that a question without an answer is tried on: as many as an answer is written from by default
WORDS = {"question": (3, 40), "answer": (1, 20), "quote": (3, 80)}  # fewest and most
_LEAK = re.compile(
    r"\b(?:the|this|that|these|those|given|provided|above|first|second|both)\s+(?:\w+\s+)?"
    r"(?:passage|text|excerpt|document|paragraph|article|snippet|quote|context)s?\b"
    r"|\b(?:according to|mentioned|described|stated) (?:in|by|above|here)\b|\bthe author\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Filters:
    """All checks, in order: rules first, then the search, then the model."""

    search: Search
    model: JudgeModel
    k: int

    def check(self, candidate: Candidate) -> Candidate:
        """Run the checks until one finds a reason.

        Raises:
            ModelError: the model failed.
        """
        checks = (check_form, locate_quotes, check_answer, check_conversation, self.check_search, self.check_reading)
        for check in checks:
            if candidate.reason:
                break
            candidate = check(candidate)
        return candidate

    def check_search(self, candidate: Candidate) -> Candidate:
        """Every quote must be in a passage among the first k; where there is no answer, the document must be."""
        hits = self.search(candidate.self_contained, self.k)
        wanted = candidate.quotes or [None]
        ranks = [_rank(hits, candidate.passages[0].chunk.document_id, quote) for quote in wanted]
        found = {f"rank_{number}": float(rank) for number, rank in enumerate(ranks, start=1) if rank is not None}
        scored = _scored(candidate, found)
        if None in ranks:
            return replace(scored, reason="not_retrieved")
        if not candidate.answerable:
            top = [StoredChunk(hit.chunk, hit.source, hit.title) for hit in hits[:READ_PASSAGES]]
            if not read(self.model, candidate.self_contained, top).declined:
                return replace(scored, reason="answerable")
        return scored

    def check_reading(self, candidate: Candidate) -> Candidate:
        """Asked again with the passages alone, the answer must be the same, or there must be none."""
        said = read(self.model, candidate.self_contained, candidate.passages)
        if not candidate.answerable:
            return candidate if said.declined else replace(candidate, reason="answerable")
        agreement = agreement_f1(said.answer, candidate.answer)
        scored = _scored(candidate, {"reading_f1": round(agreement, 4)})
        if agreement < CONSISTENT_F1:
            return replace(scored, reason="inconsistent")
        if candidate.kind == "two":
            alone = [read(self.model, candidate.self_contained, [passage]) for passage in candidate.passages]
            most = max(agreement_f1(reading.answer, candidate.answer) for reading in alone)
            scored = _scored(scored, {"one_passage_f1": round(most, 4)})
            return replace(scored, reason="one_passage_is_enough") if most >= CONSISTENT_F1 else scored
        return scored


@dataclass(frozen=True, slots=True)
class Kept:
    """The questions kept so far, to which the next must not be nearly equal. Order decides, so it is told in order."""

    words: list[frozenset[str]] = field(default_factory=list)

    def judge(self, candidate: Candidate) -> Candidate:
        """Keep a candidate that passed, or drop it as a duplicate."""
        if candidate.reason:
            return candidate
        mine = content_words(candidate.self_contained)
        nearest = max((jaccard(mine, other) for other in self.words), default=0.0)
        scored = _scored(candidate, {"nearest": round(nearest, 4)})
        if nearest >= SAME_WORDS:
            return replace(scored, reason="duplicate")
        self.words.append(mine)
        return scored


def check_form(candidate: Candidate) -> Candidate:
    """Lengths, and questions that speak of the passage, give the answer away or need a conversation."""
    asked = (candidate.question, candidate.self_contained, *(question for question, _ in candidate.turns))
    said = [candidate.answer, *(answer for _, answer in candidate.turns)] if candidate.answerable else []
    quotes = [text for name, text in candidate.written.items() if name.endswith("quote")]
    shortest = 2 if candidate.turns else WORDS["question"][0]  # "And when?"
    if not all(map(has_content, (candidate.self_contained, *quotes))) or not all(map(normalised, said)):
        return replace(candidate, reason="empty")
    lengths = ((asked, (shortest, WORDS["question"][1])), (said, WORDS["answer"]), (quotes, WORDS["quote"]))
    if not all(_within(texts, *fewest_and_most) for texts, fewest_and_most in lengths):
        return replace(candidate, reason="length")
    if not all(question.endswith(("?", "？", "؟")) for question in asked):  # noqa: RUF001
        return replace(candidate, reason="no_question")
    if any(_LEAK.search(question) for question in asked):
        return replace(candidate, reason="leak")
    if said and holds(candidate.self_contained, candidate.answer):
        return replace(candidate, reason="given_away")
    if is_unclear(candidate.self_contained):
        return replace(candidate, reason="needs_context")
    return candidate


def locate_quotes(candidate: Candidate) -> Candidate:
    """Find each quote in its passage, letter for letter or by alignment; what counts then are the passage's words."""
    texts = [text for name, text in candidate.written.items() if name.endswith("quote")]
    quotes: list[Quote] = []
    for text, passage in zip(texts, candidate.passages, strict=False):  # a question without an answer has no quote
        quote = locate(text, passage)
        if quote is None:
            return replace(candidate, reason="quote_not_found")
        quotes.append(quote)
    return replace(candidate, quotes=tuple(quotes))


def locate(text: str, passage: StoredChunk) -> Quote | None:
    """Where in a passage a quote stands; None if less than `QUOTED` of it is in one sentence."""
    chunk = passage.chunk
    start = chunk.text.find(text)
    end = start + len(text)
    if start < 0:
        support = align(text, chunk.text)
        if support.score < QUOTED:
            return None
        start, end = support.start, support.end
    return Quote(chunk.document_id, passage.source, chunk.start + start, chunk.start + end, chunk.text[start:end])


def check_answer(candidate: Candidate) -> Candidate:
    """The answer must stand in a quote, and the first answer of a conversation in the passage."""
    if candidate.answerable and not any(holds(quote.text, candidate.answer) for quote in candidate.quotes):
        return replace(candidate, reason="answer_not_in_quote")
    if any(not holds(candidate.passages[0].chunk.text, answer) for _, answer in candidate.turns):
        return replace(candidate, reason="first_answer_not_in_passage")
    return candidate


def check_conversation(candidate: Candidate) -> Candidate:
    """A follow-up must need what was said before; the first question must not."""
    if candidate.turns and not needs_context(candidate.question):
        return replace(candidate, reason="stands_alone")
    if any(is_unclear(question) for question, _ in candidate.turns):
        return replace(candidate, reason="needs_context")
    return candidate


def is_unclear(question: str) -> bool:
    """Whether a question leans on something unsaid, and has too few words of its own for its pronoun to mean them."""
    return needs_context(question) and len(content_words(question)) < CLEAR_WORDS


def agreement_f1(said: str, expected: str) -> float:
    """Token F1 of two answers; 0 where there is none."""
    answer = Answer(said, (), (), abstained=not said, query="")
    return token_f1(Case("", "", answers=(expected,)), answer) or 0.0


def content_words(question: str) -> frozenset[str]:
    """The words that tell a question from others."""
    return frozenset(normalised(question).split()) - STOPWORDS


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Words in common among all words of both; 1 for two empty sets."""
    return len(a & b) / len(a | b) if a | b else 1.0


def _rank(hits: Sequence[Hit], document_id: str, quote: Quote | None) -> int | None:
    """Rank of the first hit that holds the quote, or any of the document where there is none."""
    for hit in hits:
        chunk = hit.chunk
        if quote is None and chunk.document_id == document_id:
            return hit.rank
        if quote and chunk.document_id == quote.document_id and chunk.start <= quote.start and quote.end <= chunk.end:
            return hit.rank
    return None


def _within(texts: Iterable[str], fewest: int, most: int) -> bool:
    return all(fewest <= len(text.split()) <= most for text in texts)


def _scored(candidate: Candidate, scores: Mapping[str, float]) -> Candidate:
    return replace(candidate, scores={**candidate.scores, **scores})
