"""The index of one generation in Milvus."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from indexer.milvus.build import Build, notes, read_build
from indexer.milvus.connection import Connection, MissingCollection
from indexer.milvus.schema import as_text
from indexer.milvus.search import MilvusDense, MilvusLexical, Reader, count_rows
from indexer.milvus.writer import MilvusWriter, drop
from indexer.store.index import Wrong
from indexer.store.local import named
from indexer.store.lock import WriteLock
from indexer.store.records import Manifest
from indexer.store.rows import row_pages
from indexer.store.text import analyze
from indexer.store.truth import Truth

_TOLERANCE = 1e-3  # of half precision


class MilvusIndex:
    """Words and vectors in one collection of a Milvus."""

    kind: Literal["milvus"] = "milvus"

    def __init__(self, folder: Path, truth: Truth, lock: WriteLock, connection: Connection) -> None:
        self._folder, self._truth, self._connection = folder, truth, connection
        reader = Reader(folder, truth, lock, connection)
        self.lexical = MilvusLexical(reader, connection)
        self.dense = MilvusDense(reader, folder, connection)

    @property
    def place(self) -> str:
        """The address, and what the collection is called there."""
        build = read_build(self._folder)
        return f"{self._connection.address.uri}, {build.name} ({build.index_type})" if build else "unknown"

    def follower(self) -> MilvusWriter:
        """Begin to write."""
        return MilvusWriter(self._folder, self._truth, self._connection)

    def check(self, manifest: Manifest, with_vectors: bool = True) -> Iterator[Wrong]:
        """Hold every row against the truth: its key, its words and its vector."""
        build = read_build(self._folder)
        if build is None:
            yield Wrong("milvus", str(self._folder / "index.json"), "The note on the collection in Milvus is damaged")
            return
        if build.dim == 0 and not self._truth.last_key():
            return
        if not build.is_whole or not build.fits(manifest, self._truth.sequence(), self._truth.language()):
            yield Wrong("milvus", self.place, "It was not filled to the end, or from another truth")
            return
        try:
            if not self._connection.call("has_collection", build.name):
                yield Wrong("milvus", self.place, "The collection is missing in Milvus")
                return
            self.follower().follow()
            yield from self._check_rows(build, with_vectors)
        except MissingCollection as error:
            yield Wrong("milvus", self.place, error.message)

    def rebuild(self, kinds: set[str]) -> None:
        """Fill a new collection, if one is asked for, and drop the old one."""
        if "milvus" in kinds:
            self.follower().rebuild()

    def rewrite(self) -> None:
        """Fill a new collection and drop the old one."""
        self.follower().rebuild()

    def drop(self) -> None:
        """Drop every collection of the generation at this address."""
        for build in notes(self._folder):
            if build.uri == self._connection.address.uri:
                drop(self._folder, self._connection, build)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _check_rows(self, build: Build, with_vectors: bool) -> Iterator[Wrong]:
        seen: list[int] = []
        extra: list[int] = []
        wrong: list[int] = []
        language = self._truth.language()
        for page in self._connection.walk(build.name, "text", *(["vector"] if with_vectors else [])):
            seen += [int(row["key"]) for row in page]
            kept = {
                key: (text, vector)
                for rows in row_pages(self._truth, build.dim, seen[-len(page)], seen[-1], len(page))
                for key, text, vector in zip(rows.keys.tolist(), rows.texts, rows.vectors, strict=True)
            }
            for row in page:
                if (truth := kept.get(int(row["key"]))) is None:
                    extra.append(int(row["key"]))
                elif row["text"] != as_text(analyze(truth[0], language)) or (
                    with_vectors and np.abs(_numbers(row["vector"]) - truth[1]).max() > _TOLERANCE
                ):
                    wrong.append(int(row["key"]))
        with self._truth.reading() as db:
            missing = sorted({key for (key,) in db.execute("SELECT key FROM chunks")} - set(seen))
        if missing:
            yield Wrong("milvus", self.place, f"{named(missing)} missing")
        if extra:
            yield Wrong("milvus", self.place, f"{named(extra)} there, but deleted")
        if wrong:
            yield Wrong("milvus", self.place, f"{named(wrong)} with other words or another vector than stored")
        if not (missing or extra) and (count := count_rows(self._connection, build)) != len(seen):
            yield Wrong("milvus", self.place, f"{count - len(seen)} chunks are there twice")


def _numbers(value: object) -> "np.typing.NDArray[np.float32]":
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        value = value[0]
    if isinstance(value, bytes):  # half precision comes as bytes
        return np.frombuffer(value, np.float16).astype(np.float32)
    return np.asarray(value, np.float32)
