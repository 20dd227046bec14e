"""Somebody else's work on a collection: a command in a terminal, say, or another server."""

from dataclasses import dataclass
from datetime import UTC, datetime

from app.ui import library, rooms
from app.ui.person import reader
from indexer.collection import Collection
from indexer.errors import FootnoteError
from indexer.store.lock import Holder
from indexer.store.merging import Merging, merging_in


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Who writes, and how far that is, as far as the disk tells."""

    holder: Holder
    done: int = 0
    total: int = 0  # 0 where it is not known
    merging: Merging | None = None  # how far its merge of the dense index is, while it makes one


def elsewhere(name: str) -> Elsewhere | None:
    """Who writes to a collection, when it is not this page's own work."""
    if (job := library.jobs().last(name)) and not job.done:
        return None
    if not rooms.is_there(name):
        return None
    reading = rooms.reading(name)
    collection = reading.collection
    if (holder := collection.lock.holder()) is None:
        return None
    merging = _merging(collection, holder) if reading.access.is_full else None
    if merging is not None:
        return Elsewhere(holder, merging.merged, merging.to_merge, merging)
    if holder.command == "reindex" and reader().is_admin and (built := _built(collection)) is not None:
        return Elsewhere(holder, built, len(rooms.documents(name)))
    begun = datetime.fromtimestamp(holder.since, UTC).isoformat(timespec="seconds")
    return Elsewhere(holder, sum(row.updated_at >= begun for row in library.ledger(name)))


def _merging(collection: Collection, holder: Holder) -> Merging | None:
    """How far a merge is, in the generation that answers or in one that a reindex is building."""
    folders = map(collection.generations.dir, collection.generations.numbers()[::-1])
    return next(filter(None, (merging_in(folder, holder) for folder in folders)), None)


def _built(collection: Collection) -> int | None:
    """How many documents the generation holds that a reindex is building."""
    number = collection.generations.numbers()[-1]
    if number <= collection.generation.number:
        return None
    try:
        building = collection.generations.open(number)
        try:
            return len(building.truth.documents())
        finally:
            building.truth.close()
    except FootnoteError:  # it is being made, or being removed
        return None
