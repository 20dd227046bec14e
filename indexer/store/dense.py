"""The dense index: HNSW base + exact flat delta + tombstones, derived from the truth.

What the base does not hold yet is searched exactly, so a new chunk is found at once; what was deleted since is masked
inside the graph search, so it is never returned and never takes a place in the answer.
"""

import importlib
import logging
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from indexer.encoder import Vectors
from indexer.errors import IndexError_
from indexer.store.base import Base, BaseNote, Part, drop_base, open_base, read_note, write_base
from indexer.store.keys import KeyRanges, Mask, inside
from indexer.store.lock import WriteLock
from indexer.store.records import Manifest
from indexer.store.truth import Truth, changes, read_vectors

_log = logging.getLogger(__name__)
MIN_BASE = 128  # fewer vectors are searched exactly
_EF_SEARCH = 128
_EF_PER_RESULT = 3  # measured: recall@100 is .94 at efSearch 128 and .99 at 300
_MAX_DELTA = 256  # merge when the delta is larger than this and than a tenth of the base
_MAX_DELTA_SHARE = 0.1
_WHILE_WRITING = 32_768  # and than this while more is being written: a merge writes the whole base
_MAX_DEAD_SHARE = 0.2  # recall falls as more of the graph is masked
_EXACT_SHARE = 32_000  # r of n rows are searched exactly while r * r is below this times n: see `_search_base`
_SCORE_DIGITS = 6  # the same pair scored in graph and delta differs in the seventh


@dataclass(frozen=True, slots=True)
class _View:
    """One instant of the index. Arrays are never changed: a refresh makes a new view."""

    sequence: int
    last_key: int
    base: Base | None
    alive: Mask  # (n chunks of the base,)
    alive_rows: Mask  # (r rows of the base,)
    delta: Part  # in order of key

    @property
    def size(self) -> int:
        return int(self.alive.sum()) + len(self.delta.keys)

    @property
    def dead_share(self) -> float:
        return 1.0 - float(self.alive_rows.mean()) if len(self.alive_rows) else 0.0


class Dense:
    """Nearest chunks by inner product over one generation. Thread-safe; sees the newest commit of any process."""

    def __init__(self, folder: Path, truth: Truth, lock: WriteLock) -> None:
        self._folder, self._truth, self._lock = folder, truth, lock
        self._view: _View | None = None
        self._narrow: tuple[_View, KeyRanges, _View] | None = None  # the last filter's view: it is asked for again
        self._refreshing = threading.Lock()

    def search(self, vector: Vectors, k: int, within: KeyRanges | None = None) -> list[tuple[int, float]]:
        """Return (key, inner product) of the k nearest chunks to `vector` (dim,), best first, ties by key.

        `within` leaves only the chunks of these keys; however few they are, the nearest of them are found.

        Raises:
            IndexError_: the vector is of another size than those of the collection, or is not finite.
        """
        manifest = self._truth.manifest()
        if manifest is None or k < 1:
            return []
        query = np.ascontiguousarray(vector, np.float32).reshape(1, -1)
        if query.shape[1] != manifest.dim or not np.isfinite(query).all():
            raise IndexError_(
                f"A query vector of {query.shape[1]} numbers does not fit an index of {manifest.dim}",
                "Use the encoder that the collection was built with, or run `footnote reindex`.",
            )
        view = self._narrowed(self._fresh(manifest), within)
        found = [*_search_base(view, query, k), *_search_delta(view, query, k)]
        return sorted(found, key=lambda hit: (-hit[1], hit[0]))[:k]

    def merge(self, force: bool = False) -> bool:
        """Fold delta and tombstones into a new base when they have grown, or when forced. Needs the write lock.

        Searches go on in the old view meanwhile.
        """
        manifest = self._truth.manifest()
        if manifest is None:
            return False
        if force:
            merged = self._rebuild(manifest)
        else:
            view = self._fresh(manifest)
            if view.size < MIN_BASE:
                drop_base(self._folder)
                return False
            if not _due(view):
                return False
            merged = self._extend(view, manifest)
        with self._refreshing:
            self._view = merged
        return merged.base is not None

    def keep_up(self) -> bool:
        """Merge before what is not in the base grows out of bounds, in the middle of writing. Needs the write lock."""
        note = read_note(self._folder)
        last_key, rows = (note.last_key, note.rows) if note else (0, 0)
        if self._truth.last_key() - last_key <= max(_WHILE_WRITING, _MAX_DELTA_SHARE * rows):
            return False
        return self.merge()

    def base_rows(self) -> int:
        """Return the number of distinct vectors in the base file; 0 when there is none."""
        note = read_note(self._folder)
        return note.rows if note else 0

    def base(self) -> Base | None:
        """Load the base as it is on disk; None when there is none.

        Raises:
            ValueError: it is damaged.
        """
        note = read_note(self._folder)
        if note is None and (self._folder / "base.json").exists():
            raise ValueError("base.json is not readable")
        return open_base(self._folder, note) if note else None

    def close(self) -> None:
        """Let go of the memory."""
        with self._refreshing:
            self._view = self._narrow = None

    # --- keeping up with the truth

    def _fresh(self, manifest: Manifest) -> _View:
        view, sequence = self._view, self._truth.sequence()
        if view is not None and view.sequence == sequence:
            return view
        with self._refreshing:
            return self._refresh(manifest)

    def _narrowed(self, view: _View, within: KeyRanges | None) -> _View:
        """The view with only the chunks of these keys alive."""
        if within is None:
            return view
        last = self._narrow
        if last is not None and last[0] is view and last[1] == within:
            return last[2]
        alive, alive_rows = view.alive, view.alive_rows
        if view.base is not None:
            alive = alive & inside(view.base.keys, within)
            alive_rows = _alive_rows(view.base, alive)
        narrow = replace(
            view, alive=alive, alive_rows=alive_rows, delta=_kept(view.delta, inside(view.delta.keys, within))
        )
        self._narrow = view, within, narrow
        return narrow

    def _refresh(self, manifest: Manifest) -> _View:
        view, note = self._view, read_note(self._folder)
        resized = view is not None and view.delta.vectors.shape[1] != manifest.dim
        if view is None or resized or (note and (view.base is None or view.base.note.build != note.build)):
            view = self._open(manifest)
        view = self._advance(view, manifest.dim)
        if view.dead_share > _MAX_DEAD_SHARE:  # until the writer has merged, exact is the only right answer
            view = self._advance(_nothing(manifest.dim), manifest.dim)
        self._view = view
        return view

    def _open(self, manifest: Manifest) -> _View:
        """Start from the base; without a usable one, from nothing, so that everything is searched exactly."""
        while (note := read_note(self._folder)) is not None:
            try:
                base = open_base(self._folder, note)
                if note.fingerprint != manifest.fingerprint or note.sequence > self._truth.sequence():
                    raise ValueError("it was built from another truth")
                return _of_base(base)
            except ValueError as error:
                if read_note(self._folder) == note:  # else a merge has replaced it meanwhile
                    _log.warning("dense index %s is damaged: %s; rebuilding it", self._folder, error)
                    return self._heal(manifest)
        if not (self._folder / "base.json").exists():
            return _nothing(manifest.dim)
        _log.warning("%s is damaged; rebuilding the dense index", self._folder / "base.json")
        return self._heal(manifest)

    def _heal(self, manifest: Manifest) -> _View:
        with self._lock.free() as held:
            if held:
                try:
                    return self._rebuild(manifest)
                except (IndexError_, OSError) as error:
                    _log.warning("cannot rebuild %s: %s; searching exactly", self._folder, error)
        return _nothing(manifest.dim)

    def _advance(self, view: _View, dim: int) -> _View:
        """Apply what the truth has and the view has not, as one instant of the truth."""
        with self._truth.reading() as db:
            news = changes(db, view.sequence)
            if news.sequence == view.sequence:
                return view
            added = Part(*read_vectors(db, dim, view.last_key)) if news.added else _no_part(dim)
        delta, alive, alive_rows = view.delta, view.alive, view.alive_rows
        if news.deleted:
            delta = _kept(delta, ~inside(delta.keys, news.deleted))
            if view.base is not None:
                alive = alive & ~inside(view.base.keys, news.deleted)
                alive_rows = _alive_rows(view.base, alive)
        delta = _joined(delta, added)
        last_key = max([view.last_key, *(last for _, last in news.added)])
        return _View(news.sequence, last_key, view.base, alive, alive_rows, delta)

    def _extend(self, view: _View, manifest: Manifest) -> _View:
        """Write a base with the delta, or from the truth alone where too much of the old one is dead or damaged."""
        if view.dead_share > _MAX_DEAD_SHARE:
            return self._rebuild(manifest)
        began = time.monotonic()
        try:
            base = write_base(
                self._folder, view.base, view.alive, [view.delta], _note(view.sequence, view.last_key, manifest)
            )
        except ValueError as error:
            _log.warning("dense index %s is damaged: %s; rebuilding it", self._folder, error)
            return self._rebuild(manifest)
        spent_s = time.monotonic() - began
        _log.info("dense index: %d chunks merged into %d rows in %.1f s", len(view.delta.keys), base.note.rows, spent_s)
        return _of_base(base)

    def _rebuild(self, manifest: Manifest) -> _View:
        """Write the base anew from the truth, which is never in memory as a whole. Needs the write lock."""
        if self._truth.count() < MIN_BASE:
            drop_base(self._folder)
            return _nothing(manifest.dim)
        parts = (Part(*page) for page in self._truth.vector_pages(manifest.dim))
        note = _note(self._truth.sequence(), self._truth.last_key(), manifest)
        return _of_base(write_base(self._folder, None, np.empty(0, bool), parts, note))


def _note(sequence: int, last_key: int, manifest: Manifest) -> BaseNote:
    return BaseNote("", sequence, last_key, 0, manifest.dim, manifest.fingerprint, 0, 0)


def _no_part(dim: int) -> Part:
    return Part(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, dim), np.float32))


def _nothing(dim: int) -> _View:
    return _View(0, 0, None, np.empty(0, bool), np.empty(0, bool), _no_part(dim))


def _of_base(base: Base) -> _View:
    alive = np.ones(len(base.keys), bool)
    note = base.note
    return _View(note.sequence, note.last_key, base, alive, _alive_rows(base, alive), _no_part(note.dim))


def _alive_rows(base: Base, alive: Mask) -> Mask:
    rows = np.zeros(base.note.rows, bool)
    rows[base.rows[alive]] = True
    return rows


def _kept(part: Part, mask: Mask) -> Part:
    return Part(part.keys[mask], part.vector_ids[mask], part.vectors[mask])


def _joined(left: Part, right: Part) -> Part:
    if not len(right.keys) or not len(left.keys):
        return left if not len(right.keys) else right
    return Part(
        np.concatenate([left.keys, right.keys]),
        np.concatenate([left.vector_ids, right.vector_ids]),
        np.concatenate([left.vectors, right.vectors]),
    )


def _due(view: _View) -> bool:
    allowed = max(_MAX_DELTA, _MAX_DELTA_SHARE * len(view.alive))
    return view.base is None or len(view.delta.keys) > allowed or view.dead_share > _MAX_DEAD_SHARE


def _search_base(view: _View, query: Vectors, k: int) -> list[tuple[int, float]]:
    """Search the graph, or exactly where few of its rows are alive.

    A graph search walks past masked rows, so for the same recall it needs efSearch / s at a share s of living ones,
    while an exact scan costs s * n: below some s * s * n the scan is cheaper, and never misses.
    """
    base, rows, of = view.base, int(view.alive_rows.sum()), len(view.alive_rows)
    if base is None or rows == 0:
        return []
    faiss: Any = importlib.import_module("faiss")
    exact = rows < of and rows * rows <= _EXACT_SHARE * of
    ef = round(max(_EF_SEARCH, _EF_PER_RESULT * k) * of / rows)
    parameters = faiss.SearchParameters() if exact else faiss.SearchParametersHNSW(efSearch=ef)
    if rows < of:
        selector = faiss.IDSelectorBitmap(np.packbits(view.alive_rows, bitorder="little"))
        parameters.sel = selector  # FAISS keeps no reference: `selector` must live until the search ends
    index = base.index.storage if exact else base.index
    scores, found = index.search(query, min(k, rows), params=parameters)
    hits = []
    for row, score in zip(found[0].tolist(), scores[0].tolist(), strict=True):
        if row >= 0:
            chunks = slice(base.starts[row], base.starts[row + 1])
            keys = base.keys[chunks][view.alive[chunks]][:k]
            hits += [(key, round(score, _SCORE_DIGITS)) for key in keys.tolist()]
    return hits


def _search_delta(view: _View, query: Vectors, k: int) -> list[tuple[int, float]]:
    scores = np.round((view.delta.vectors @ query[0]).astype(np.float64), _SCORE_DIGITS)  # (m,)
    best = np.arange(len(scores))
    if len(scores) > k:
        best = np.flatnonzero(scores >= np.partition(scores, -k)[-k])  # with all that tie at the edge
    best = best[np.argsort(-scores[best], kind="stable")][:k]  # keys rise, so a stable sort breaks ties by key
    return [(int(view.delta.keys[at]), float(scores[at])) for at in best]
