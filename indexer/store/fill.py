"""fill_base(): a base made of the truth in portions, so that a run that was cut off goes on from what stands.

The base that is filled has a note of its own, filling.json, which no reader looks at: it holds every chunk up to its
last key, and answers once it is renamed to base.json. What was changed in the truth since the filling began is in the
log behind the note's sequence number, as for every base.
"""

import logging
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np

from indexer.store.base import FILLING, NOTE, Base, BaseNote, Part, drop_base, open_base, read_note, write_base
from indexer.store.dense import MIN_BASE
from indexer.store.gpu import DenseBuild, builds_on_gpu
from indexer.store.index import OnMerge
from indexer.store.records import Manifest
from indexer.store.rows import count_above
from indexer.store.truth import Truth

_log = logging.getLogger(__name__)
_LEAST_PAGES = 4  # of a portion; the truth's pages have some thousand chunks
_PART = 4  # a portion is a fourth of what stands: each writes all of the base, together five times its size


@dataclass(frozen=True, slots=True)
class Filled:
    """What one run did."""

    resumed_after: int | None  # the key behind which it went on
    written: int  # chunks


def fill_base(folder: Path, truth: Truth, build: DenseBuild, on_chunks: OnMerge) -> Filled:
    """Write the base anew from the truth, or go on behind the last portion that stands. Needs the write lock.

    `on_chunks` gets how many chunks this run has written, and of how many. A GPU builds all in one portion.

    Raises:
        IndexError_: the disk is full or refuses.
    """
    manifest, total = truth.manifest(), truth.count()
    if manifest is None or total < MIN_BASE:
        drop_base(folder)
        return Filled(None, total)
    base = _standing(folder, truth, manifest)
    note = base.note if base else BaseNote("", truth.sequence(), 0, 0, manifest.dim, manifest.fingerprint, 0, 0)
    begun = note.last_key
    left = count_above(truth, begun)
    on_gpu = base is None and builds_on_gpu(build, total)
    pages = (Part(*page) for page in truth.vector_pages(manifest.dim, begun))
    written = 0
    while first := next(pages, None):
        size = None if on_gpu else max(_LEAST_PAGES, note.rows // (_PART * len(first.keys)))
        portion = chain([first], islice(pages, size and size - 1))
        alive = np.ones(len(base.keys) if base else 0, bool)
        told = partial(_tell, on_chunks, written, left)
        base = write_base(folder, base, alive, portion, note, told, on_gpu, FILLING)
        written, note = left - count_above(truth, base.note.last_key), base.note
    if (folder / FILLING).exists():
        (folder / FILLING).replace(folder / NOTE)
    return Filled(begun or None, left)


def _tell(on_chunks: OnMerge, before: int, left: int, chunks: int) -> None:
    on_chunks(before + chunks, left)


def _standing(folder: Path, truth: Truth, manifest: Manifest) -> Base | None:
    """What an earlier run has filled, or the base of before the index went elsewhere, if the truth goes on from it."""
    for note in (read_note(folder, FILLING), read_note(folder)):
        if note is None or note.fingerprint != manifest.fingerprint or note.sequence > truth.sequence():
            continue
        try:
            return open_base(folder, note)
        except ValueError as error:
            _log.warning("what was begun in %s is damaged: %s; beginning anew", folder, error)
    return None
