"""Searching a generation's collection in Milvus.

Every search first brings the collection up to date if nobody else is writing; what another process has not applied yet
is masked if it was deleted, and its vectors are searched exactly from the truth if it was added.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from indexer.encoder import Vectors
from indexer.errors import IndexError_
from indexer.milvus.build import Build, read_build
from indexer.milvus.connection import Connection, MissingCollection
from indexer.milvus.schema import INDEX_TYPES, MAX_HITS, as_words, expressions
from indexer.milvus.writer import MilvusWriter
from indexer.store.index import Field, OnMerge, Required
from indexer.store.keys import KeyRanges, inside, merge_ranges
from indexer.store.language import Language
from indexer.store.lock import WriteLock
from indexer.store.records import Manifest, StoredChunk
from indexer.store.rows import vectors_inside
from indexer.store.text import analyze, embed_parts, query_terms
from indexer.store.truth import Truth

_MAX_QUERY_TERMS = 1024  # distinct; a pasted page keeps its first thousand
_READ_ROWS = 1024  # chunks read at once
_EXACT_ROWS = 2048  # so few are searched exactly, from the truth
_LARGE = 100_000  # chunks; more are not built anew while somebody waits for an answer
_SCORE_DIGITS = 6  # the same pair scored in Milvus and here differs in the seventh
_STRONG_S = 15.0  # Bounded staleness is 5 s as Milvus comes; what is older than this is seen under it

Ranking = list[tuple[int, float]]


class Reader:
    """What both searches share: which build answers, how far it is, and how it is asked."""

    def __init__(self, folder: Path, truth: Truth, lock: WriteLock, connection: Connection) -> None:
        self.truth, self._folder, self._lock, self._connection = truth, folder, lock, connection
        self._seen = ("", -1, 0.0)  # build, its sequence, and when this process first saw it

    def fresh(self) -> Build | None:
        """Return the build that answers, up to date unless another process is writing; None while it is empty.

        Raises:
            IndexError_: it is not whole, and another process is writing, or building it would take long.
        """
        manifest, target = self.truth.manifest(), self.truth.sequence()
        build = read_build(self._folder)
        if manifest is None or (build is not None and build.dim == 0 and not self.truth.last_key()):
            return None
        is_usable = build is not None and build.is_whole and self._fits(build, manifest)
        if not is_usable:
            self._refuse_if_large()
        if not is_usable or (build is not None and build.sequence != target):
            with self._lock.free() as held:
                if held:
                    MilvusWriter(self._folder, self.truth, self._connection).follow()
            build = read_build(self._folder)
        if build is None or not build.is_whole or not self._fits(build, manifest):
            raise IndexError_(
                f"The index of {self._folder} in Milvus is not whole, and another process is writing",
                "Try again when it has ended; `footnote verify --repair` rebuilds the index.",
            )
        if (build.name, build.sequence) != self._seen[:2]:
            self._seen = build.name, build.sequence, time.monotonic()
        return build

    def hits(
        self, build: Build, field: str, query: Any, k: int, within: KeyRanges | None, digits: int | None = None
    ) -> Ranking:
        """Return the k best rows that exist, best first, ties by key."""
        found: Ranking = []
        for expression in expressions(within):
            found += self._best(build, field, query, k, expression, digits)
        return sorted(found, key=_best_first)[:k]

    def repaired(self, search: Callable[[], Ranking]) -> Ranking:
        """Search; where the collection is gone, build it anew and search again."""
        try:
            return search()
        except MissingCollection:
            self._refuse_if_large()
            with self._lock.free() as held:
                if not held:
                    raise
                MilvusWriter(self._folder, self.truth, self._connection).rebuild()
        return search()

    def _fits(self, build: Build, manifest: Manifest) -> bool:
        return build.fits(manifest, self.truth.sequence(), self.truth.language())

    def _refuse_if_large(self) -> None:
        """A question may wait for a small index to be built anew, not for a large one."""
        if self.truth.last_key() > _LARGE:
            raise IndexError_(
                f"The index of {self._folder} in Milvus is missing or not whole",
                "Run `footnote verify --repair`: it is built anew from the stored text, without encoding.",
            )

    def _best(self, build: Build, field: str, query: Any, k: int, expression: str, digits: int | None) -> Ranking:
        """The best of one expression: more are fetched while a tie is cut, or some are gone."""
        most = INDEX_TYPES[build.index_type].max_hits
        limit = min(k + 1, most)
        while True:
            hits = self._ask(build, field, query, limit, expression)
            ranked = sorted(((key, round(score, digits) if digits else score) for key, score in hits), key=_best_first)
            if build.sequence < self.truth.sequence():
                alive = self.truth.existing([key for key, _ in ranked])
                ranked = [hit for hit in ranked if hit[0] in alive]
            tie = len(ranked) > k and ranked[-1][1] == ranked[k - 1][1]
            if len(hits) < limit or limit == most or (len(ranked) > k and not tie):
                return ranked[:k]
            limit = min(limit * 4, most)

    def _ask(self, build: Build, field: str, query: Any, limit: int, expression: str) -> Ranking:
        dense = field == "vector"
        how = {"metric_type": "IP", "params": INDEX_TYPES[build.index_type].search(limit)}
        recent = time.monotonic() - self._seen[2] < _STRONG_S
        (hits,) = self._connection.call(
            "search",
            build.name,
            data=[query],
            anns_field=field,
            limit=limit,
            filter=expression,
            search_params=how if dense else {"metric_type": "BM25"},
            consistency_level="Strong" if recent else "Bounded",
        )
        # Milvus Lite gives BM25's scores below zero, a server above; they are never of both kinds.
        return [(int(hit.id), float(hit.distance) if dense else abs(float(hit.distance))) for hit in hits]


class MilvusLexical:
    """BM25 search over one generation."""

    def __init__(self, reader: Reader, connection: Connection) -> None:
        self._reader, self._connection = reader, connection

    def search(self, query: str, k: int, within: KeyRanges | None = None) -> Ranking:
        """Return (key, score) of the k best chunks, best first, ties by key."""
        counts = Counter(query_terms(query, self._reader.truth.language())).most_common(_MAX_QUERY_TERMS)
        if k < 1 or not counts or within == ():
            return []
        words = as_words([term for term, count in counts for _ in range(count)])

        def search() -> Ranking:
            build = self._reader.fresh()
            return self._reader.hits(build, "bm25", words, k, within) if build else []

        return self._reader.repaired(search)

    def holding(self, required: Iterable[Required]) -> KeyRanges | None:
        """Return the keys of the chunks that hold all of these words; None where there is nothing to hold.

        They are looked for in the text of the chunks that BM25 finds best for all the words, MAX_HITS at most.
        """
        truth = self._reader.truth
        language = truth.language()
        wanted = [(each.field, terms) for each in required if (terms := analyze(each.words, language))]
        if not wanted:
            return None
        words = as_words(sorted({term for _, terms in wanted for term in terms})[:_MAX_QUERY_TERMS])

        def search() -> Ranking:
            build = self._reader.fresh()
            return self._reader.hits(build, "bm25", words, MAX_HITS, None) if build else []

        keys = sorted(key for key, _ in self._reader.repaired(search))
        held = []
        for at in range(0, len(keys), _READ_ROWS):
            chunks = truth.chunks(keys[at : at + _READ_ROWS])
            held += [key for key, stored in chunks.items() if _holds(stored, wanted, language)]
        return tuple(merge_ranges((key, key) for key in sorted(held)))

    def keys(self) -> list[int]:
        """List every key in the index, in order."""
        build = self._reader.fresh()
        return [int(row["key"]) for page in self._connection.walk(build.name) for row in page] if build else []


class MilvusDense:
    """Vector search over one generation."""

    def __init__(self, reader: Reader, folder: Path, connection: Connection) -> None:
        self._reader, self._folder, self._connection = reader, folder, connection

    def search(self, vector: Vectors, k: int, within: KeyRanges | None = None) -> Ranking:
        """Return (key, inner product) of the k nearest chunks to `vector` (dim,), best first, ties by key.

        Raises:
            IndexError_: the vector is of another size than those of the collection, or is not finite.
        """
        manifest = self._reader.truth.manifest()
        if manifest is None or k < 1 or within == ():
            return []
        query = np.ascontiguousarray(vector, np.float32).reshape(-1)
        if len(query) != manifest.dim or not np.isfinite(query).all():
            raise IndexError_(
                f"A query vector of {len(query)} numbers does not fit an index of {manifest.dim}",
                "Use the encoder that the collection was built with, or run `footnote reindex`.",
            )
        if within is not None and _rows(within) <= _EXACT_ROWS:
            return self._exact(manifest, query, within)[:k]
        return self._reader.repaired(lambda: self._search(manifest, query, k, within))

    def merge(self, force: bool = False, on_merge: OnMerge | None = None) -> bool:
        """Nothing: Milvus merges by itself, and the writer flushes."""
        return False

    def keep_up(self, on_merge: OnMerge | None = None) -> bool:
        """Nothing: Milvus merges by itself."""
        return False

    def base_rows(self) -> int:
        """Return the number of rows in Milvus."""
        build = read_build(self._folder)
        return count_rows(self._connection, build) if build and build.dim else 0

    def _search(self, manifest: Manifest, query: Vectors, k: int, within: KeyRanges | None) -> Ranking:
        build = self._reader.fresh()
        if build is None:
            return []
        sent = query.astype(np.float16) if build.vectors == "float16" else query
        found = dict(self._reader.hits(build, "vector", sent, k, within, _SCORE_DIGITS))
        waiting = self._reader.truth.changes(build.sequence).added  # another process is writing
        if waiting and _rows(waiting) <= _EXACT_ROWS:
            found |= {
                key: score
                for key, score in self._exact(manifest, query, waiting)
                if within is None or inside(np.array([key]), within)[0]
            }
        return sorted(found.items(), key=_best_first)[:k]

    def _exact(self, manifest: Manifest, query: Vectors, ranges: KeyRanges) -> Ranking:
        keys, vectors = vectors_inside(self._reader.truth, manifest.dim, ranges)
        scores = np.round(np.vecdot(vectors, query).astype(np.float64), _SCORE_DIGITS)
        return sorted(zip(keys.tolist(), scores.tolist(), strict=True), key=_best_first)


def _holds(stored: StoredChunk, wanted: Sequence[tuple[Field, list[str]]], language: Language) -> bool:
    path, text = stored.chunk.heading_path, stored.chunk.text
    parts = {"title": [stored.title], "heading": [*path], "text": embed_parts(stored.title, path, text)}
    terms = {field: [analyze(part, language) for part in parts[field]] for field in {field for field, _ in wanted}}
    return all(any(_in_a_row(phrase, part) for part in terms[field]) for field, phrase in wanted)


def _in_a_row(phrase: list[str], terms: list[str]) -> bool:
    return any(terms[at : at + len(phrase)] == phrase for at in range(len(terms) - len(phrase) + 1))


def count_rows(connection: Connection, build: Build) -> int:
    """Count the rows of a build."""
    (row,) = connection.call("query", build.name, filter="", output_fields=["count(*)"], consistency_level="Strong")
    return int(row["count(*)"])


def _rows(ranges: Sequence[tuple[int, int]]) -> int:
    return sum(last - first + 1 for first, last in ranges)


def _best_first(hit: tuple[int, float]) -> tuple[float, int]:
    return -hit[1], hit[0]
