"""One instant of the dense index, and how it is searched: the graph of the base, and exactly what is not in it."""

import functools
import importlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.encoder import Vectors
from indexer.store.base import Base, Part
from indexer.store.keys import Keys, Mask, inside

_EF_SEARCH = 128
_EF_PER_RESULT = 3  # measured: recall@100 is .94 at efSearch 128 and .99 at 300
_EXACT_SHARE = 32_000  # r of n rows are searched exactly while r * r is below this times n: see `_search_base`
_SCORE_DIGITS = 6  # the same pair scored in graph and delta differs in the seventh

Scores = npt.NDArray[np.float64]
Found = tuple[Keys, Scores]  # (m,) and (m,), in any order
_NOTHING: Found = (np.empty(0, np.int64), np.empty(0, np.float64))


@dataclass(frozen=True, slots=True)
class View:
    """One instant of the index. Arrays are never changed: a refresh makes a new view."""

    sequence: int
    last_key: int
    base: Base | None
    alive: Mask  # (n chunks of the base,)
    living: "Living"  # of the base
    delta: Part  # in order of key
    room: "Room | None" = None  # that the delta lies in, and may grow in

    @property
    def size(self) -> int:
        return self.living.chunks + len(self.delta.keys)

    @property
    def dead_share(self) -> float:
        return 1.0 - self.living.rows / self.base.note.rows if self.base else 0.0

    def search(self, query: Vectors, k: int) -> list[tuple[int, float]]:
        """Return (key, inner product) of the k nearest chunks to `query` (1, dim), best first, ties by key."""
        found = zip(_search_base(self, query, k), _search_delta(self, query, k), strict=True)
        keys, scores = (np.concatenate(parts) for parts in found)
        best = np.lexsort((keys, -scores))[:k]
        return list(zip(keys[best].tolist(), scores[best].tolist(), strict=True))

    def within(self, ranges: Iterable[tuple[int, int]]) -> "View":
        """The view with only the chunks of these keys."""
        ranges = tuple(ranges)
        return self._masked(
            inside(self.base.keys, ranges) if self.base else self.alive, inside(self.delta.keys, ranges)
        )

    def without(self, ranges: Iterable[tuple[int, int]]) -> "View":
        """The view without the chunks of these keys."""
        if not (ranges := tuple(ranges)):
            return self
        return self._masked(
            ~inside(self.base.keys, ranges) if self.base else self.alive, ~inside(self.delta.keys, ranges)
        )

    def joined(self, added: Part) -> "View":
        """The view with more chunks, of higher keys, that are not in the base."""
        if not len(added.keys):
            return self
        room = self.room
        if room is None or not room.follows(self.delta, added):
            room = Room(self.delta, 2 * (len(self.delta.keys) + len(added.keys)))
        return replace(self, delta=room.append(added), room=room)

    def _masked(self, base: Mask, delta: Mask) -> "View":
        kept = Part(self.delta.keys[delta], self.delta.vector_ids[delta], self.delta.vectors[delta])
        if self.base is None:
            return replace(self, delta=kept, room=None)
        alive = self.alive & base
        return replace(self, alive=alive, living=_living(self.base, alive), delta=kept, room=None)


class Room:
    """Memory for a delta that grows: while somebody writes, copying all of it at each commit would hold up searches.

    What lies behind the rows of one view is written once, by the one view that follows it; no view reads behind its own
    rows. Needs the caller's lock.
    """

    def __init__(self, start: Part, capacity: int) -> None:
        dim = start.vectors.shape[1]
        keys, vector_ids = np.empty((2, capacity), np.int64)
        self._all = Part(keys, vector_ids, np.empty((capacity, dim), np.float32))
        self._used = 0
        self.append(start)

    def follows(self, delta: Part, added: Part) -> bool:
        """Whether this ends with `delta`, and has room behind it for what is added."""
        return self._used == len(delta.keys) and self._used + len(added.keys) <= len(self._all.keys)

    def append(self, added: Part) -> Part:
        """Write what is added, and give all there is now."""
        begin, end = self._used, self._used + len(added.keys)
        self._all.keys[begin:end] = added.keys
        self._all.vector_ids[begin:end] = added.vector_ids
        self._all.vectors[begin:end] = added.vectors
        self._used = end
        return Part(self._all.keys[:end], self._all.vector_ids[:end], self._all.vectors[:end])


@dataclass(frozen=True, slots=True)
class Living:
    """What of the base may be found, counted once for all searches."""

    chunks: int
    rows: int
    bitmap: npt.NDArray[np.uint8] | None  # of the rows, as FAISS reads it; None where all of them are alive


def no_part(dim: int) -> Part:
    """No chunks."""
    return Part(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, dim), np.float32))


def empty_view(dim: int) -> View:
    """The view before the first operation."""
    return View(0, 0, None, np.empty(0, bool), Living(0, 0, None), no_part(dim))


def view_of(base: Base) -> View:
    """The view at the instant when the base was written."""
    alive = np.ones(len(base.keys), bool)
    note = base.note
    living = Living(len(alive), note.rows, None)
    return View(note.sequence, note.last_key, base, alive, living, no_part(note.dim))


def _living(base: Base, alive: Mask) -> Living:
    rows = np.zeros(base.note.rows, bool)
    rows[base.rows[alive]] = True
    count = int(np.count_nonzero(rows))
    bitmap = np.packbits(rows, bitorder="little") if count < len(rows) else None
    return Living(int(np.count_nonzero(alive)), count, bitmap)


def _search_base(view: View, query: Vectors, k: int) -> Found:
    """Search the graph, or exactly where few of its rows are alive.

    A graph search walks past masked rows, so for the same recall it needs efSearch / s at a share s of living ones,
    while an exact scan costs s * n: below some s * s * n the scan is cheaper, and never misses.
    """
    base, rows = view.base, view.living.rows
    if base is None or rows == 0:
        return _NOTHING
    of = base.note.rows
    exact = rows < of and rows * rows <= _EXACT_SHARE * of
    ef = round(max(_EF_SEARCH, _EF_PER_RESULT * k) * of / rows)
    if view.living.bitmap is None:
        parameters = _whole_graph(ef)
    else:
        faiss: Any = importlib.import_module("faiss")
        parameters = faiss.SearchParameters() if exact else faiss.SearchParametersHNSW(efSearch=ef)
        selector = faiss.IDSelectorBitmap(view.living.bitmap)
        parameters.sel = selector  # FAISS keeps no reference: `selector` must live until the search ends
    index = base.index.storage if exact else base.index
    scores, found = index.search(query, min(k, rows), params=parameters)
    there = found[0] >= 0
    return _chunks_of(view, base, found[0][there], scores[0][there])


@functools.lru_cache(maxsize=64)
def _whole_graph(ef: int) -> Any:
    """Parameters of a search that no row is masked in; FAISS only reads them."""
    return importlib.import_module("faiss").SearchParametersHNSW(efSearch=ef)


def _chunks_of(view: View, base: Base, rows: Keys, scores: Vectors) -> Found:
    """The living chunks of these rows (r,), each with the score of its row."""
    if base.is_plain and view.living.chunks == len(base.keys):
        return base.keys[rows], _rounded(scores)
    first = base.starts[rows]
    counts = base.starts[rows + 1] - first  # equal texts share a row
    before = np.cumsum(counts) - counts
    at = np.repeat(first - before, counts) + np.arange(int(counts.sum()))
    alive = view.alive[at]
    return base.keys[at][alive], _rounded(np.repeat(scores, counts)[alive])


def _search_delta(view: View, query: Vectors, k: int) -> Found:
    if not len(view.delta.keys):
        return _NOTHING
    # Not `@`: BLAS has threads of its own, which wait for each other where several searches run at once.
    scores = _rounded(np.vecdot(view.delta.vectors, query[0]))  # (m,)
    if len(scores) <= k:
        return view.delta.keys, scores
    best = np.flatnonzero(scores >= np.partition(scores, -k)[-k])  # with all that tie at the edge
    return view.delta.keys[best], scores[best]


def _rounded(scores: Vectors) -> Scores:
    return np.asarray(np.round(scores.astype(np.float64), _SCORE_DIGITS), np.float64)
