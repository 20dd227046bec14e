"""The dense index: HNSW base + exact flat delta + tombstones, derived from the truth.

What the base does not hold yet is searched exactly, so a new chunk is found at once; what was deleted since is masked
inside the graph search, so it is never returned and never takes a place in the answer.
"""

import logging
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from indexer.encoder import Vectors
from indexer.errors import IndexError_
from indexer.store.base import NOTE, Base, BaseNote, OnChunks, Part, drop_base, open_base, read_note, write_base
from indexer.store.gpu import DenseBuild, builds_on_gpu
from indexer.store.index import OnMerge
from indexer.store.keys import KeyRanges
from indexer.store.lock import WriteLock
from indexer.store.operations import changes
from indexer.store.records import Manifest
from indexer.store.truth import Truth
from indexer.store.vectors import read_vectors
from indexer.store.view import View, empty_view, no_part, view_of

_log = logging.getLogger(__name__)
MIN_BASE = 128  # fewer vectors are searched exactly
_SMALL_DELTA = 256  # merge when the delta is larger than this and than a tenth of the base,
_MAX_DELTA_SHARE = 0.1
_MAX_DELTA = 8_192  # or than this, however large the base is: every search scans the delta, 0.3 ms a thousand
_WHILE_WRITING = 32_768  # while more is being written, than this and a tenth: a merge writes the whole base
_MAX_DEAD_SHARE = 0.2  # recall falls as more of the graph is masked


class Dense:
    """Nearest chunks by inner product over one generation. Thread-safe; sees the newest commit of any process."""

    def __init__(self, folder: Path, truth: Truth, lock: WriteLock, build: DenseBuild = "auto") -> None:
        self._folder, self._truth, self._lock, self._build = folder, truth, lock, build
        self._view: View | None = None
        self._narrow: tuple[View, KeyRanges, View] | None = None  # the last filter's view: it is asked for again
        self._refreshing = threading.Lock()

    def search(self, vector: Vectors, k: int, within: KeyRanges | None = None) -> list[tuple[int, float]]:
        """Return (key, inner product) of the k nearest chunks to `vector` (dim,), best first, ties by key.

        `within` leaves only the chunks of these keys; however few they are, the nearest of them are found.

        Raises:
            IndexError_: the vector is of another size than those of the collection, or is not finite.
        """
        view = self._current()
        if view is None or k < 1:
            return []
        query = np.ascontiguousarray(vector, np.float32).reshape(1, -1)
        dim = view.delta.vectors.shape[1]
        if query.shape[1] != dim or not np.isfinite(query).all():
            raise IndexError_(
                f"A query vector of {query.shape[1]} numbers does not fit an index of {dim}",
                "Use the encoder that the collection was built with, or run `footnote reindex`.",
            )
        return self._narrowed(view, within).search(query, k)

    def merge(self, force: bool = False, on_merge: OnMerge | None = None) -> bool:
        """Fold delta and tombstones into a new base when they have grown, or when forced. Needs the write lock.

        Searches go on in the old view meanwhile. `on_merge` gets how many chunks are in the new base, and of how many.
        """
        manifest = self._truth.manifest()
        if manifest is None:
            return False
        if force:
            merged = self._rebuild(manifest, on_merge)
        else:
            view = self._fresh(manifest)
            if view.size < MIN_BASE:
                drop_base(self._folder)
                return False
            if not _due(view):
                return False
            merged = self._extend(view, manifest, on_merge)
        with self._refreshing:
            self._view = merged
        return merged.base is not None

    def keep_up(self, on_merge: OnMerge | None = None) -> bool:
        """Merge before what is not in the base grows out of bounds, in the middle of writing. Needs the write lock."""
        note = read_note(self._folder)
        last_key, rows = (note.last_key, note.rows) if note else (0, 0)
        if self._truth.last_key() - last_key <= max(_WHILE_WRITING, _MAX_DELTA_SHARE * rows):
            return False
        return self.merge(on_merge=on_merge)

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
        if note is None and (self._folder / NOTE).exists():
            raise ValueError(f"{NOTE} is not readable")
        return open_base(self._folder, note) if note else None

    def close(self) -> None:
        """Let go of the memory."""
        with self._refreshing:
            self._view = self._narrow = None

    # --- keeping up with the truth

    def _current(self) -> View | None:
        """The view of this instant; None where nothing was ever written."""
        view = self._view
        if view is not None and view.size and view.sequence == self._truth.sequence():
            return view  # what holds a chunk has the manifest it was opened with
        manifest = self._truth.manifest()
        return self._fresh(manifest) if manifest else None

    def _fresh(self, manifest: Manifest) -> View:
        view, sequence = self._view, self._truth.sequence()
        if view is not None and view.sequence == sequence and view.delta.vectors.shape[1] == manifest.dim:
            return view
        with self._refreshing:
            if self._view is not view and self._view is not None and self._view.sequence >= sequence:
                return self._view  # another thread was first
            return self._refresh(manifest)

    def _narrowed(self, view: View, within: KeyRanges | None) -> View:
        """The view with only the chunks of these keys alive."""
        if within is None:
            return view
        last = self._narrow
        if last is not None and last[0] is view and last[1] == within:
            return last[2]
        narrow = view.within(within)
        self._narrow = view, within, narrow
        return narrow

    def _refresh(self, manifest: Manifest) -> View:
        view, note = self._view, read_note(self._folder)
        resized = view is not None and view.delta.vectors.shape[1] != manifest.dim
        if view is None or resized or (note and (view.base is None or view.base.note.build != note.build)):
            view = self._open(manifest)
        view = self._advance(view, manifest.dim)
        if view.dead_share > _MAX_DEAD_SHARE:  # until the writer has merged, exact is the only right answer
            view = self._advance(empty_view(manifest.dim), manifest.dim)
        self._view = view
        return view

    def _open(self, manifest: Manifest) -> View:
        """Start from the base; without a usable one, from nothing, so that everything is searched exactly."""
        while (note := read_note(self._folder)) is not None:
            try:
                base = open_base(self._folder, note)
                if note.fingerprint != manifest.fingerprint or note.sequence > self._truth.sequence():
                    raise ValueError("it was built from another truth")
                return view_of(base)
            except ValueError as error:
                if read_note(self._folder) == note:  # else a merge has replaced it meanwhile
                    _log.warning("dense index %s is damaged: %s; rebuilding it", self._folder, error)
                    return self._heal(manifest)
        if not (self._folder / NOTE).exists():
            return empty_view(manifest.dim)
        _log.warning("%s is damaged; rebuilding the dense index", self._folder / NOTE)
        return self._heal(manifest)

    def _heal(self, manifest: Manifest) -> View:
        with self._lock.free() as held:
            if held:
                try:
                    return self._rebuild(manifest)
                except (IndexError_, OSError) as error:
                    _log.warning("cannot rebuild %s: %s; searching exactly", self._folder, error)
        return empty_view(manifest.dim)

    def _advance(self, view: View, dim: int) -> View:
        """Apply what the truth has and the view has not, as one instant of the truth."""
        with self._truth.reading() as db:
            news = changes(db, view.sequence)
            if news.sequence == view.sequence:
                return view
            added = Part(*read_vectors(db, dim, view.last_key)) if news.added else no_part(dim)
        last_key = max([view.last_key, *(last for _, last in news.added)])
        return replace(view.without(news.deleted).joined(added), sequence=news.sequence, last_key=last_key)

    def _extend(self, view: View, manifest: Manifest, on_merge: OnMerge | None) -> View:
        """Write a base with the delta, or from the truth alone where too much of the old one is dead or damaged."""
        if view.dead_share > _MAX_DEAD_SHARE or builds_on_gpu(self._build, len(view.delta.keys)):
            return self._rebuild(manifest, on_merge)  # a GPU makes the whole graph anew while a processor adds a tenth
        began = time.monotonic()
        try:
            note = _note(view.sequence, view.last_key, manifest)
            told = _counting(len(view.delta.keys), on_merge)
            base = write_base(self._folder, view.base, view.alive, [view.delta], note, told)
        except ValueError as error:
            _log.warning("dense index %s is damaged: %s; rebuilding it", self._folder, error)
            return self._rebuild(manifest, on_merge)
        spent_s = time.monotonic() - began
        _log.info("dense index: %d chunks merged into %d rows in %.1f s", len(view.delta.keys), base.note.rows, spent_s)
        return view_of(base)

    def _rebuild(self, manifest: Manifest, on_merge: OnMerge | None = None) -> View:
        """Write the base anew from the truth, which is never in memory as a whole. Needs the write lock."""
        if (chunks := self._truth.count()) < MIN_BASE:
            drop_base(self._folder)
            return empty_view(manifest.dim)
        parts = (Part(*page) for page in self._truth.vector_pages(manifest.dim))
        note = _note(self._truth.sequence(), self._truth.last_key(), manifest)
        told, on_gpu = _counting(chunks, on_merge), builds_on_gpu(self._build, chunks)
        return view_of(write_base(self._folder, None, np.empty(0, bool), parts, note, told, on_gpu))


def _note(sequence: int, last_key: int, manifest: Manifest) -> BaseNote:
    return BaseNote("", sequence, last_key, 0, manifest.dim, manifest.fingerprint, 0, 0)


def _counting(total: int, on_merge: OnMerge | None) -> OnChunks:
    return lambda chunks: on_merge(chunks, total) if on_merge else None


def _due(view: View) -> bool:
    allowed = min(max(_SMALL_DELTA, _MAX_DELTA_SHARE * len(view.alive)), _MAX_DELTA)
    return view.base is None or len(view.delta.keys) > allowed or view.dead_share > _MAX_DEAD_SHARE
