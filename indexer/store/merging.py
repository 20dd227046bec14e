"""How far a merge of the dense index is: told to whoever merges, and noted for other processes in merging.json.

The note lies in the generation's folder while the merge goes on. What a kill leaves of it names a process that holds
the write lock no more.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from indexer.store.disk import read_json
from indexer.store.index import OnMerge
from indexer.store.lock import Holder

_NAME = "merging.json"
_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Merging:
    """A merge at one moment."""

    pid: int
    merged: int  # chunks that are in the new base
    to_merge: int  # of so many
    left_s: float | None  # None until something has been measured
    at: float  # seconds since 1970


class MergePace:
    """How long a merge will still take."""

    def __init__(self) -> None:
        self._first = (0.0, 0, 0)  # when the first portion was in, its chunks, and of how many

    def left_s(self, merged: int, to_merge: int) -> float | None:
        """Seconds left, from the pace since the first portion, before which the old graph was read; None after it."""
        began, at_first, total = self._first
        if to_merge != total or merged <= at_first:  # another merge
            self._first = (time.monotonic(), merged, to_merge)
            return 0.0 if merged >= to_merge else None
        return (time.monotonic() - began) / (merged - at_first) * (to_merge - merged)


@contextlib.contextmanager
def noted(folder: Path, on_merge: OnMerge | None = None) -> Iterator[OnMerge]:
    """Give what a merge of the generation in `folder` is to tell its progress to; the note is gone after the block."""
    path, pace, next_at = folder / _NAME, MergePace(), 0.0

    def tell(merged: int, to_merge: int) -> None:
        nonlocal next_at
        if on_merge is not None:
            on_merge(merged, to_merge)
        left_s = pace.left_s(merged, to_merge)
        if time.monotonic() >= next_at:
            next_at = time.monotonic() + _EVERY_S
            _write(path, Merging(os.getpid(), merged, to_merge, left_s, time.time()))

    try:
        yield tell
    finally:
        if next_at:
            with contextlib.suppress(OSError):
                path.unlink()


def merging_in(folder: Path, holder: Holder) -> Merging | None:
    """How far the merge is that the holder of the write lock makes; None where it makes none in this generation."""
    note = read_json(folder / _NAME) or {}
    try:
        found = Merging(**note)
        if found.pid != holder.pid or found.at < holder.since:
            return None
        if found.left_s is None:
            return found
        return replace(found, left_s=max(0.0, found.left_s - max(0.0, time.time() - found.at)))
    except TypeError:  # it is none
        return None


def _write(path: Path, now: Merging) -> None:
    # Not synced, as it means nothing after a power cut; and a full disk must not stop a merge.
    temporary = path.with_name(f".{_NAME}.tmp")
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps(asdict(now)), "utf-8")
        temporary.replace(path)
