"""POST /feedback: a thumb on an answer, stored with all that led to it. What nobody judged is not kept."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from app.api.access import Reader
from app.api.errors import ApiError, described
from app.api.service import Served
from app.experiment import Arm
from app.feedback import Thumb, Verdict, index_state, served, store_thumb
from generator.answer import Answer
from indexer.collection import Collection

router = APIRouter(tags=["feedback"])
_REMEMBERED = 1024


class Feedback(BaseModel):
    """What a reader thinks of an answer."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(max_length=100)
    """Of the answer, as /v1/chat/completions gave it."""
    thumb: Verdict
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

    def add(
        self,
        id_: str,
        key_id: str,
        collection: Collection,
        question: str,
        answer: Answer,
        arm: Arm | None = None,
        filters: Sequence[str] = (),
    ) -> None:
        """Remember an answer and who got it."""
        remembered = served(question, answer, index_state(collection), arm, filters)
        with self._lock:
            self._answers[id_] = (key_id, collection.name, remembered)
            while len(self._answers) > self._limit:
                self._answers.popitem(last=False)

    def get(self, id_: str, key_id: str) -> tuple[str, Mapping[str, Any]]:
        """The collection of an answer, and what led to it.

        Raises:
            ApiError: it is not among the last ones, or somebody else's (404).
        """
        with self._lock:
            owner, collection, remembered = self._answers.get(id_, (None, "", {}))
        if owner != key_id:
            message = f"That answer is not known: the server remembers its last {self._limit:,}."
            raise ApiError(404, message, param="id", code="not_found")
        return collection, remembered


@router.post("/feedback", status_code=201, responses=described(404))
def give_feedback(body: Feedback, caller: Reader, service: Served) -> Stored:
    """Say what an answer was worth."""
    collection, remembered = service.recent.get(body.id, caller.id)
    service.library.check(caller, collection)
    thumb = Thumb(body.thumb, body.reason, body.correction)
    return Stored(number=store_thumb(service.database, body.id, thumb, collection, remembered, caller.id))
