"""migrate(): move a collection's index to a Milvus, to another one, or back into files, without encoding.

The old index answers until the new one is whole; then the choice is switched at one instant. A run that was cut off
goes on behind the last chunk that was noted, in both directions.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from indexer.collection import LOCK_TIMEOUT_S, Collection
from indexer.generation import Generation
from indexer.milvus.address import Address, parse_address
from indexer.milvus.build import Build, build_for, choose, chosen, notes, read_build, write_note
from indexer.milvus.choice import connect, drop_elsewhere, drop_local
from indexer.milvus.connection import Connection
from indexer.milvus.schema import check_types
from indexer.milvus.writer import MilvusWriter
from indexer.store.fill import Filled
from indexer.store.index import Kind
from indexer.store.local import LocalIndex
from indexer.store.rows import count_above
from indexer.store.truth import Truth

OnChunks = Callable[[int, int, float | None], None]  # chunks that are there, all of them, seconds left


@dataclass(frozen=True, slots=True)
class Migrated:
    """Where a collection's index is now."""

    kind: Kind
    place: str
    chunks: int
    written: int  # by this run; 0 when it was there before
    resumed_after: int | None  # the key behind which a cut-off run was continued


def parse_target(text: str) -> Address | None:
    """Read where an index shall go; None for files beside the truth.

    Raises:
        ConfigError: it is an address that is not valid.
    """
    return None if text == "local" else parse_address(text)


def migrate(
    collection: Collection,
    target: Address | None,
    on_chunks: OnChunks = lambda *_: None,
    *,
    on_wait: Callable[[str], None] | None = None,
    timeout_s: float = LOCK_TIMEOUT_S,
) -> Migrated:
    """Move the index of the serving generation to `target`; searches go on meanwhile, writers wait.

    Index type and vectors of a new collection in Milvus are those of the collection's settings.

    Raises:
        ConfigError: the packages are missing, or index type and vectors do not go together.
        IndexError_: Milvus does not answer or refuses, or another process writes for longer than `timeout_s`.
    """
    with collection.lock.held("migrate", timeout_s, on_wait):
        generation = collection.generation
        if target is None:
            return _to_local(collection, generation, on_chunks)
        return _to_milvus(collection, generation, target, on_chunks)


def _to_local(collection: Collection, generation: Generation, on_chunks: OnChunks) -> Migrated:
    truth, settings = generation.truth, collection.index_settings
    filled = Filled(None, 0)
    if chosen(generation.folder):
        local = LocalIndex(generation.folder, truth, collection.lock, settings.dense_build)
        pace = _Pace(truth, on_chunks)
        filled = local.fill(pace.wrote)
        (generation.folder / "index.json").unlink()
        _look_again(collection, generation)
    drop_elsewhere(generation.folder, settings)  # also what a kill has left there
    return Migrated("local", str(generation.folder), truth.count(), filled.written, filled.resumed_after)


def _to_milvus(collection: Collection, generation: Generation, target: Address, on_chunks: OnChunks) -> Migrated:
    settings = collection.index_settings
    check_types(settings.index_type, settings.vectors, target.is_lite)
    # The token is for the server that a person names now
    connection = connect(target, replace(settings, uri=target.uri))
    try:
        connection.call("list_collections")  # is anybody there?
        return _fill(collection, generation, target, connection, on_chunks)
    finally:
        connection.close()


def _fill(
    collection: Collection, generation: Generation, target: Address, connection: Connection, on_chunks: OnChunks
) -> Migrated:
    folder, settings = generation.folder, collection.index_settings
    build = _begun(generation, target, settings.index_type, settings.vectors) or build_for(folder, settings, target.uri)
    pace = _Pace(generation.truth, on_chunks)
    after = build.filled_to or (0 if not build.is_whole else generation.truth.last_key())
    left = count_above(generation.truth, after)
    write_note(folder, build)
    on_rows = lambda rows: pace.wrote(pace.written + rows, left)  # noqa: E731
    writer = MilvusWriter(folder, generation.truth, connection, build, on_rows)
    writer.follow()
    writer.close()
    kept = writer.build or build
    choose(folder, kept)
    _look_again(collection, generation)
    drop_local(folder)
    drop_elsewhere(folder, settings, but=kept.name)
    place = f"{target.uri}, {kept.name} ({kept.index_type})"
    return Migrated("milvus", place, generation.truth.count(), pace.written, build.filled_to)


def _begun(generation: Generation, target: Address, index_type: str, vectors: str) -> Build | None:
    """The build that answers there already, or that a cut-off run began."""
    manifest, sequence = generation.truth.manifest(), generation.truth.sequence()
    language = generation.truth.language()
    answering = read_build(generation.folder)
    for build in sorted(notes(generation.folder), key=lambda each: each != answering):
        same = (build.uri, build.index_type, build.vectors) == (target.uri, index_type, vectors)
        if same and (manifest is None or build.fits(manifest, sequence, language)):
            return build
    return None


def _look_again(collection: Collection, generation: Generation) -> None:
    """Let every open process see the choice, before what answered until now is dropped."""
    collection.generations.switch(generation.number, generation.chosen_under)


class _Pace:
    """Tells how many chunks are there, and the time left."""

    def __init__(self, truth: Truth, on_chunks: OnChunks) -> None:
        self._total, self._on_chunks, self._began = truth.count(), on_chunks, time.monotonic()
        self.written = 0  # by this run

    def wrote(self, written: int, of: int) -> None:
        """Take note of how many this run has written, and of how many; operations that are sent again are more."""
        self.written, left = written, max(0, of - written)
        left_s = (time.monotonic() - self._began) / written * left if written else None
        self._on_chunks(self._total - of + written, self._total, left_s)
