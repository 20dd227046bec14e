"""purge(): write a collection's files anew, so that nothing that was deleted is left in any of them.

Deleting already overwrites text and vectors in SQLite (secure_delete), but the write-ahead log, lexical segments and
the graph of the dense index keep what they had until something makes them anew. That is what is done here. What a file
system keeps of removed files, in snapshots or on worn cells of an SSD, is out of a program's reach.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from indexer.collection import LOCK_TIMEOUT_S, Collection
from indexer.milvus.choice import drop_local
from indexer.store.disk import disk_error


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did."""

    bytes_before: int
    bytes_after: int
    generations_removed: tuple[int, ...]
    generations_kept: tuple[int, ...]  # beside the one that answers: they may still hold what was deleted since


def purge(
    collection: Collection,
    generations: bool = False,
    *,
    on_wait: Callable[[str], None] | None = None,
    timeout_s: float = LOCK_TIMEOUT_S,
) -> Purged:
    """Leave no byte of deleted text or vectors in the files of the serving generation; open readers go on.

    With `generations`, remove every other generation too: the one that rollback() would return to, and unfinished ones.
    A purge that was cut off is simply run again.

    Raises:
        IndexError_: another process writes for longer than `timeout_s`, a reader keeps the log of the truth in use, or
            the disk has no room for a second copy.
    """
    with collection.lock.held("purge", timeout_s, on_wait):
        current = collection.generation
        before = size_on_disk(collection.folder)
        removed = _remove_others(collection, current.number) if generations else ()
        current.index.rewrite()
        if current.index.kind == "milvus":
            drop_local(current.folder)  # what a move back that was cut off has left
        current.truth.compact()
        kept = tuple(number for number in collection.generations.numbers() if number != current.number)
        return Purged(before, size_on_disk(collection.folder), removed, kept)


def _remove_others(collection: Collection, current: int) -> tuple[int, ...]:
    removed = []
    for folder in sorted((collection.folder / "generations").iterdir()):  # also what a kill left without its truth.db
        if folder.name != f"{current:04d}":
            try:
                collection.generations.remove(folder)
            except OSError as error:
                raise disk_error(error, folder) from error
            removed.append(int(folder.name))
    return tuple(removed)


def size_on_disk(folder: Path) -> int:
    """Bytes of all files below a folder."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # somebody writes, and puts files in the place of others
                size += Path(parent, name).stat().st_size
    return size
