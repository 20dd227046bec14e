"""Answers with the thumb that counts, as the store of feedback has them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.database import Database
from app.feedback import Verdict


@dataclass(frozen=True, slots=True)
class Shown:
    """A passage that stood beside an answer: `document.text[start:end]` as it was then."""

    document_id: str
    start: int
    end: int
    sha256: str  # of the passage's words; empty for thumbs of before it was kept
    cited: tuple[tuple[int, int], ...] = ()  # spans of the document that the answer quotes from it


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer with the thumb that counts."""

    answer_id: str
    collection: str
    at: str  # of the thumb: ISO 8601, UTC
    verdict: Verdict
    reason: str
    correction: str
    question: str
    query: str  # what was searched for: the question, made to stand by itself
    answer: str
    abstained: bool
    document_ids: tuple[str, ...]  # that the answer cites
    passages: tuple[Shown, ...] = ()  # in their order
    filters: tuple[str, ...] | None = ()  # which documents were asked, as `--filter` takes it; None: nobody knows

    @property
    def topic(self) -> str:
        """What tells its question from others: the words of the query, whatever their case and spacing."""
        return " ".join(self.query.casefold().split())


def judged_answers(database: Database, limit: int = -1, collection: str | None = None, since: str = "") -> list[Judged]:
    """The answers that were judged last, newest first: `limit` of them (-1 has none), of one collection or of all,
    whose thumb is not older than `since` (ISO 8601, UTC).

    Raises:
        IndexError_: the store cannot be read.
    """
    with database.connected() as db:
        rows = db.execute(_LAST, {"collection": collection, "since": since, "limit": limit}).fetchall()
    return [_judged(*row) for row in rows]


def _judged(
    answer_id: str,
    collection: str,
    at: str,
    verdict: Verdict,
    reason: str,
    correction: str,
    served: str,
    filters: str | None,
) -> Judged:
    told: Mapping[str, Any] = json.loads(served)
    quoted = [(document_id, start, end) for _, document_id, start, end in told["citations"]]
    return Judged(
        answer_id=answer_id,
        collection=collection,
        at=at,
        verdict=verdict,
        reason=reason,
        correction=correction.strip(),
        question=told["question"],
        query=told["query"] or told["question"],
        answer=told["answer"],
        abstained=told["abstained"],
        document_ids=tuple(dict.fromkeys(document_id for document_id, *_ in quoted)),
        passages=tuple(_shown(hit, quoted) for hit in told["hits"]),
        filters=None if filters is None else tuple(json.loads(filters)),
    )


def _shown(hit: Mapping[str, Any], quoted: list[tuple[str, int, int]]) -> Shown:
    start, end = hit["start"], hit["end"]
    cited = [(low, high) for document_id, low, high in quoted if document_id == hit["document"] and start <= low < end]
    return Shown(hit["document"], start, end, hit.get("sha256", ""), tuple(cited))


_LAST = """
SELECT answer_id, collection, at, thumb, reason, correction, served, filters FROM feedback
WHERE number IN (SELECT max(number) FROM feedback GROUP BY answer_id)
AND (:collection IS NULL OR collection = :collection) AND at >= :since
ORDER BY number DESC LIMIT :limit
"""
