"""POST /feedback: a thumb on an answer, stored with all that led to it. What nobody judged is not kept."""

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from app.api.access import Reader
from app.api.database import Database
from app.api.errors import ApiError, described
from app.api.service import Served
from generator.answer import Answer
from generator.pipeline import Done
from indexer.collection import Collection
from indexer.store.changes import now

router = APIRouter(tags=["feedback"])
_REMEMBERED = 1024


class Thumb(BaseModel):
    """What a reader thinks of an answer."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(max_length=100)
    """Of the answer, as /v1/chat/completions gave it."""
    thumb: Literal["up", "down"]
    reason: str = Field(default="", max_length=2_000)
    correction: str = Field(default="", max_length=20_000)


class Stored(BaseModel):
    """The number that the thumb has in the store."""

    number: int


class Recent:
    """The last answers, so that a thumb needs to name only one of them."""

    def __init__(self, limit: int = _REMEMBERED) -> None:
        self._limit = limit
        self._answers: OrderedDict[str, tuple[str, str, dict[str, Any]]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, id_: str, key_id: str, collection: Collection, question: str, done: Done) -> None:
        """Remember an answer and who got it."""
        served = _served(collection, question, done)
        with self._lock:
            self._answers[id_] = (key_id, collection.name, served)
            while len(self._answers) > self._limit:
                self._answers.popitem(last=False)

    def get(self, id_: str, key_id: str) -> tuple[str, Mapping[str, Any]]:
        """The collection of an answer, and what led to it.

        Raises:
            ApiError: it is not among the last ones, or somebody else's (404).
        """
        with self._lock:
            owner, collection, served = self._answers.get(id_, (None, "", {}))
        if owner != key_id:
            message = f"That answer is not known: the server remembers its last {self._limit:,}."
            raise ApiError(404, message, param="id", code="not_found")
        return collection, served


def store(database: Database, thumb: Thumb, key_id: str, collection: str, served: Mapping[str, Any]) -> int:
    """Append a thumb; returns its number."""
    row = (now(), key_id, collection, thumb.id, thumb.thumb, thumb.reason, thumb.correction, json.dumps(served))
    with database.connected() as db:
        cursor = db.execute(
            "INSERT INTO feedback (at, key_id, collection, answer_id, thumb, reason, correction, served)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        return int(cursor.lastrowid or 0)


@router.post("/feedback", status_code=201, responses=described(404))
def give_feedback(body: Thumb, caller: Reader, service: Served) -> Stored:
    """Say what an answer was worth."""
    collection, served = service.recent.get(body.id, caller.key_id)
    caller.check(collection)
    return Stored(number=store(service.database, body, caller.key_id, collection, served))


def _served(collection: Collection, question: str, done: Done) -> dict[str, Any]:
    """What training and evaluation need: texts of passages are found by their ids and offsets."""
    answer, manifest = done.answer, collection.manifest
    return {
        "question": question,
        "query": answer.query,
        "answer": answer.text,
        "abstained": answer.abstained,
        "citations": [[c.number, c.document_id, c.start, c.end] for c in answer.citations],
        "hits": _hits(answer),
        "prompt": done.prompt.version if done.prompt else "",
        "generation": collection.generation.number,
        "sequence": collection.sequence(),
        "model": answer.model,
        "encoder": manifest.fingerprint if manifest else "",
    }


def _hits(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "rank": hit.rank,
            "chunk": hit.chunk.id,
            "document": hit.chunk.document_id,
            "start": hit.chunk.start,
            "end": hit.chunk.end,
            "parts": {stage: [part.score, part.rank] for stage, part in hit.parts.items()},
        }
        for hit in answer.hits
    ]
