"""Thumbs on answers, of the chat page and of the API, each with all that led to the answer."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from app.database import Database
from app.experiment import Arm
from generator.answer import Answer
from indexer.collection import Collection
from indexer.store.changes import now

Verdict = Literal["up", "down"]


@dataclass(frozen=True, slots=True)
class Thumb:
    """What a reader thinks of an answer."""

    verdict: Verdict
    reason: str = ""
    correction: str = ""  # what the answer should have been


@dataclass(frozen=True, slots=True)
class IndexState:
    """What was searched: a generation of a collection, its last change, and the encoder's fingerprint."""

    generation: int
    sequence: int
    encoder: str


def index_state(collection: Collection) -> IndexState:
    """What a collection serves now."""
    manifest = collection.manifest
    return IndexState(collection.generation.number, collection.sequence(), manifest.fingerprint if manifest else "")


def served(
    question: str, answer: Answer, index: IndexState, arm: Arm | None = None, filters: Sequence[str] = ()
) -> dict[str, Any]:
    """What training and evaluation need of an answer, as JSON has it; passages are named by ids and offsets, and the
    documents that were asked by `filters`, as `--filter` takes them."""
    return {
        "question": question,
        "query": answer.query,
        "answer": answer.text,
        "abstained": answer.abstained,
        "citations": [[c.number, c.document_id, c.start, c.end] for c in answer.citations],
        "hits": _hits(answer),
        "prompt": answer.prompt_version,
        "generation": index.generation,
        "sequence": index.sequence,
        "model": answer.model,
        "encoder": index.encoder,
        "reranker": answer.reranker,
        "experiment": asdict(arm) if arm else None,
        "filters": list(filters),
    }


def store_thumb(
    database: Database, answer_id: str, thumb: Thumb, collection: str, served: Mapping[str, Any], key_id: str = ""
) -> int:
    """Append a thumb and return its number. Of several on one answer the last counts.

    Raises:
        IndexError_: the store cannot be written.
    """
    about = dict(served)
    filters = about.pop("filters", None)  # a column of its own, which older thumbs got later
    told = (thumb.verdict, thumb.reason, thumb.correction, json.dumps(about))
    with database.connected() as db:
        cursor = db.execute(
            "INSERT INTO feedback (at, key_id, collection, answer_id, thumb, reason, correction, served, filters)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (now(), key_id, collection, answer_id, *told, None if filters is None else json.dumps(filters)),
        )
        return int(cursor.lastrowid or 0)


def last_thumbs(database: Database, answer_ids: Sequence[str]) -> dict[str, Thumb]:
    """The thumb that counts, of each answer that has one.

    Raises:
        IndexError_: the store cannot be read.
    """
    with database.connected() as db:
        rows = db.execute(
            "SELECT answer_id, thumb, reason, correction FROM feedback"
            " WHERE answer_id IN (SELECT value FROM json_each(?)) ORDER BY number",
            (json.dumps(list(answer_ids)),),
        ).fetchall()
    return {answer_id: Thumb(*told) for answer_id, *told in rows}


def passage_hash(text: str) -> str:
    """What tells later whether a document still has the words of a passage."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _hits(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "rank": hit.rank,
            "chunk": hit.chunk.id,
            "document": hit.chunk.document_id,
            "start": hit.chunk.start,
            "end": hit.chunk.end,
            "sha256": passage_hash(hit.chunk.text),
            "parts": {stage: [part.score, part.rank] for stage, part in hit.parts.items()},
        }
        for hit in answer.hits
    ]
