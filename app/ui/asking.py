"""Questions of one reader: searching, answering, and what is kept of it.

As in rooms.py, the reader is whoever reads the page now, or, in a thread of its own, the caller that is given.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

from app.caller import Caller
from app.conversations import Conversations, TurnRecord
from app.experiment import Arm, assign, record_exposure
from app.feedback import Thumb, index_state, last_thumbs, served, store_thumb
from app.resident import keep_loaded
from app.ui import opened, rooms
from app.ui.person import reader, settings
from app.withheld import of_record
from generator.pipeline import Event, Stage
from indexer.collection import Collection
from indexer.errors import FootnoteError
from indexer.filter import parse_filter
from retriever.hit import Hit
from retriever.request import SearchRequest

logger = logging.getLogger(__name__)

WARM_AFTER_S = 3.0


def arm_of(conversation_id: str) -> Arm | None:
    """The arm that a conversation has in the experiment that runs, if one does."""
    return assign(settings().experiment, f"conversation {conversation_id}")


def ask(
    caller: Caller,
    name: str,
    question: str,
    history: Sequence[tuple[str, str]],
    query: str | None,
    earlier: Sequence[Hit],
    filters: Sequence[str] = (),
    arm: Arm | None = None,
) -> Iterator[Event]:
    """The events of an answer; the first is that the models are loaded. Arguments as of the pipeline."""
    rooms.check(caller, name)
    yield Stage("load")
    asked, arm_name = parse_filter(filters), arm.name if arm else "a"
    yield from opened.pipeline(name, arm_name).ask(question, history, query, earlier, asked, caller.access)


def search(
    name: str, query: str, conditions: Sequence[str]
) -> tuple[tuple[Hit, ...], tuple[Hit, ...], dict[str, float], tuple[str, ...]]:
    """All that both retrievers find, with the verdict of every stage; the reranker's order, if there is one; times; and
    why there is none."""
    access = rooms.reading(name).access
    retriever, asked = opened.retriever(name), parse_filter(conditions)
    candidates = settings().retriever.candidates
    found = retriever.find(SearchRequest(query, 2 * candidates, asked=asked, access=access))
    if not opened.has_reranker():
        return found.hits, (), dict(found.timings_ms), ()
    reranked = retriever.find(SearchRequest(query, candidates, rerank=True, asked=asked, access=access))
    timings_ms = {**found.timings_ms, **reranked.timings_ms}
    return found.hits, () if reranked.notes else reranked.hits, timings_ms, reranked.notes


def keep(caller: Caller, name: str, record: TurnRecord) -> TurnRecord:
    """Store what came of a question, with what was searched; returns it as it was stored."""
    if answer := record.answer:
        record = replace(record, index=index_state(opened.collection(name)))
        record_exposure(opened.database(), record.arm, record.id, answer)
    Conversations(opened.database(), caller.id).save(record)
    return record


def conversations() -> Conversations:
    """The conversations of the reader."""
    return Conversations(opened.database(), reader().id)


def there(name: str) -> frozenset[str]:
    """Ids of the documents whose words the reader may see now; none where the collection cannot be read."""
    try:
        return frozenset(info.id for info in rooms.documents(name))
    except FootnoteError:
        return frozenset()


def turns(name: str, conversation_id: str) -> tuple[TurnRecord, ...]:
    """What was asked in a conversation of the reader about a collection, without words of documents that are gone."""
    kept = conversations().turns(conversation_id)
    ids = there(name)
    return tuple(of_record(record, ids.__contains__) for record in kept)


def judge(name: str, record: TurnRecord, thumb: Thumb) -> None:
    """Store what the reader thinks of an answer."""
    assert record.answer and record.index, "only an answer is judged"
    told = served(record.question, record.answer, record.index, record.arm, record.filters)
    store_thumb(opened.database(), record.id, thumb, name, told, reader().id)


def thumbs(turn_ids: Sequence[str]) -> dict[str, Thumb]:
    """What the reader thinks of answers, where anything."""
    return last_thumbs(opened.database(), turn_ids)


@cache
def warm(name: str) -> None:
    """Load the models of a collection soon, so that the first question need not wait for all of it; not at once, as
    importing torch would keep the page from being drawn."""
    if _collection_is_filled(name):
        timer = threading.Timer(WARM_AFTER_S, _load, (name,))
        timer.daemon = True
        timer.start()


def _collection_is_filled(name: str) -> bool:
    return name in Collection.list(settings().home) and opened.collection(name).count() > 0


def _load(name: str) -> None:
    try:
        opened.pipeline(name, "a")
        if settings().experiment.name:
            opened.pipeline(name, "b")
        keep_loaded()
    except FootnoteError as error:  # the first question says so to the reader
        logger.warning("the models are not ready: %s", error.message)
