"""The index in files beside the truth: tantivy for words, FAISS for vectors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from indexer.store.base import Base
from indexer.store.dense import Dense
from indexer.store.fill import Filled, fill_base
from indexer.store.gpu import DenseBuild
from indexer.store.index import OnMerge, Wrong
from indexer.store.lexical import Lexical
from indexer.store.lexical_writer import LexicalWriter, check_build
from indexer.store.lock import WriteLock
from indexer.store.merging import noted
from indexer.store.records import Manifest
from indexer.store.truth import Truth

_SHOWN = 5  # examples in one message


class LocalIndex:
    """Both indexes of one generation: lexical/ and dense/ in its folder."""

    kind: Literal["local"] = "local"

    def __init__(self, folder: Path, truth: Truth, lock: WriteLock, dense_build: DenseBuild = "auto") -> None:
        self._folder, self._truth, self._build = folder, truth, dense_build
        self.lexical = Lexical(folder / "lexical", truth, lock)
        self.dense = Dense(folder / "dense", truth, lock, dense_build)

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._folder)

    def follower(self) -> LexicalWriter:
        """Begin to write; the dense index follows by itself."""
        return LexicalWriter(self._folder / "lexical", self._truth)

    def check(self, manifest: Manifest, with_vectors: bool = True) -> Iterator[Wrong]:
        """Hold both against the truth."""
        yield from self._check_lexical()
        if with_vectors:
            yield from self._check_dense(manifest)

    def rebuild(self, kinds: set[str]) -> None:
        """Build one or both anew."""
        if "lexical" in kinds:
            with LexicalWriter(self._folder / "lexical", self._truth, rebuild=True) as writer:
                writer.catch_up()
        if "dense" in kinds:
            self.dense.close()
            self._merge_all()

    def rewrite(self) -> None:
        """Write every file anew."""
        with LexicalWriter(self._folder / "lexical", self._truth, rebuild=True) as writer:
            writer.catch_up()
        self._merge_all()

    def fill(self, on_chunks: OnMerge) -> Filled:
        """Bring both up to the truth, behind what a run that was cut off has left here. Needs the write lock."""
        with LexicalWriter(self._folder / "lexical", self._truth) as writer:
            writer.catch_up()
        filled = fill_base(self._folder / "dense", self._truth, self._build, on_chunks)
        self.dense.merge()  # what was deleted between two runs may be much
        return filled

    def drop(self) -> None:
        """Nothing is outside of the folder."""

    def close(self) -> None:
        """Let go of files and memory."""
        self.lexical.close()
        self.dense.close()

    def _merge_all(self) -> None:
        with noted(self._folder) as told:
            self.dense.merge(force=True, on_merge=told)

    def _check_lexical(self) -> Iterator[Wrong]:
        folder = self._folder / "lexical"
        reason = check_build(folder)
        if reason:
            if self._truth.sequence():
                yield Wrong("lexical", str(folder), reason)
            return
        with LexicalWriter(folder, self._truth) as writer:
            writer.catch_up()
        with self._truth.reading() as db:
            there = {key for (key,) in db.execute("SELECT key FROM chunks")}
        keys = self.lexical.keys()
        if missing := sorted(there - set(keys)):
            yield Wrong("lexical", str(folder), f"{named(missing)} missing")
        if extra := sorted(set(keys) - there):
            yield Wrong("lexical", str(folder), f"{named(extra)} there, but deleted")
        if len(keys) != len(set(keys)):
            yield Wrong("lexical", str(folder), f"{len(keys) - len(set(keys))} chunks are there twice")

    def _check_dense(self, manifest: Manifest) -> Iterator[Wrong]:
        folder = self._folder / "dense"
        try:
            base = self.dense.base()
        except ValueError as error:
            yield Wrong("dense", str(folder), f"The base cannot be used: {error}")
            return
        if base is None:
            return  # everything is searched exactly
        if (base.note.fingerprint, base.note.dim) != (manifest.fingerprint, manifest.dim):
            yield Wrong("dense", str(folder), "The base was built with another encoder")
            return
        if base.note.sequence > self._truth.sequence():
            yield Wrong("dense", str(folder), "The base is ahead of the truth")
            return
        yield from _base_against_truth(self._truth, folder, base)


def _base_against_truth(truth: Truth, folder: Path, base: Base) -> Iterator[Wrong]:
    order = np.argsort(base.keys)
    keys, rows = base.keys[order], base.rows[order]
    there = np.zeros(len(keys), bool)
    missing: list[int] = []
    wrong: list[int] = []
    for stored, _, vectors in truth.vector_pages(base.note.dim):
        at = np.minimum(np.searchsorted(keys, stored), len(keys) - 1)
        known = keys[at] == stored
        there[at[known]] = True
        missing += stored[~known & (stored <= base.note.last_key)].tolist()
        graph = base.index.reconstruct_batch(rows[at[known]])  # (m, dim)
        differ = np.abs(graph - vectors[known]).max(axis=1, initial=0) > 1e-4
        wrong += stored[known][differ].tolist()
    deleted = truth.changes(base.note.sequence).deleted
    unexplained = [key for key in keys[~there].tolist() if not any(first <= key <= last for first, last in deleted)]
    if unexplained:
        yield Wrong("dense", str(folder), f"{named(unexplained)} there, but deleted")
    if missing:
        yield Wrong("dense", str(folder), f"{named(missing)} missing")
    if wrong:
        yield Wrong("dense", str(folder), f"{named(wrong)} with another vector than stored")


def named(chunks: list[int] | list[str]) -> str:
    """`Chunk 7 is`, or `9 chunks (1, 2, 3, 4, 5, ...) are`."""
    shown = ", ".join(str(chunk) for chunk in chunks[:_SHOWN]) + (", ..." if len(chunks) > _SHOWN else "")
    return f"{len(chunks)} chunks ({shown}) are" if len(chunks) > 1 else f"Chunk {shown} is"
