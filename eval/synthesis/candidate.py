"""A question that a model wrote about passages, with everything known about it, and its form on disk."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

from eval.outcome import as_chunk
from generator.prompt import Turn
from indexer.store.records import StoredChunk

Kind = Literal["single", "two", "unanswerable", "follow-up"]
KINDS: tuple[Kind, ...] = get_args(Kind)
REASONS: Mapping[str, str] = MappingProxyType(
    {
        "no_related_document": "the search found no passage of another document",
        "unfinished": "the model wrote on without an end",
        "empty": "the question, the answer or the quote is missing",
        "length": "the question, the answer or the quote is too short or too long",
        "no_question": "what was written does not end with a question mark",
        "leak": "the question speaks of the passage it was written from",
        "given_away": "the answer stands in the question",
        "quote_not_found": "the quote is not in the passage",
        "answer_not_in_quote": "the answer is not in the quote",
        "first_answer_not_in_passage": "the answer to the first question is not in the passage",
        "needs_context": "the question, or its self-contained form, cannot be understood by itself",
        "stands_alone": "the follow-up can be understood without the first question",
        "not_retrieved": "the search does not find the passages within k",
        "one_passage_is_enough": "one of the two passages answers the question",
        "inconsistent": "read again, the passage gave another answer",
        "answerable": "a passage answered what was to have no answer",
        "duplicate": "nearly the same as a question that was kept",
    }
)


@dataclass(frozen=True, slots=True)
class Quote:
    """Words of a document that an answer rests on: `document.text[start:end] == text`."""

    document_id: str
    source: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A question with its answer, and the first reason to drop it, which is empty for one that passed every filter."""

    id: str
    kind: Kind
    passages: tuple[StoredChunk, ...]
    written: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # what the model wrote, as it was
    question: str = ""
    answer: str = ""
    turns: tuple[Turn, ...] = ()
    self_contained: str = ""  # the question in words that need no conversation
    quotes: tuple[Quote, ...] = ()
    scores: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    reason: str = ""  # one of REASONS

    @property
    def answerable(self) -> bool:
        """Whether the documents have an answer."""
        return self.kind != "unanswerable"


def as_json(candidate: Candidate) -> dict[str, Any]:
    """A candidate as JSON."""
    return {
        "_id": candidate.id,
        "kind": candidate.kind,
        "question": candidate.question,
        "answer": candidate.answer,
        "turns": [{"question": asked, "answer": said} for asked, said in candidate.turns],
        "self_contained": candidate.self_contained,
        "quotes": [asdict(quote) for quote in candidate.quotes],
        "passages": [asdict(passage) for passage in candidate.passages],
        "scores": dict(candidate.scores),
        "reason": candidate.reason,
        "written": dict(candidate.written),
    }


def from_json(value: Mapping[str, Any]) -> Candidate:
    """The candidate that `as_json` wrote down; keys beside it are left aside.

    Raises:
        KeyError, TypeError: it is none.
    """
    if value["kind"] not in KINDS:
        raise KeyError(value["kind"])
    return Candidate(
        id=value["_id"],
        kind=value["kind"],
        passages=tuple(_passage(passage) for passage in value["passages"]),
        written=value["written"],
        question=value["question"],
        answer=value["answer"],
        turns=tuple((turn["question"], turn["answer"]) for turn in value["turns"]),
        self_contained=value["self_contained"],
        quotes=tuple(Quote(**quote) for quote in value["quotes"]),
        scores=value["scores"],
        reason=value["reason"],
    )


def _passage(value: Mapping[str, Any]) -> StoredChunk:
    return StoredChunk(as_chunk(value["chunk"]), value["source"], value["title"])
