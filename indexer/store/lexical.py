"""The lexical index: BM25 over stems in tantivy, derived from the truth and rebuilt from it when in doubt.

    lexical/applied.json      which build is current, and the last sequence number it holds
    lexical/<build>/          tantivy's files

Robertson and Zaragoza 2009 (doi:10.1561/1500000019), with k1 = 1.2 and b = 0.75, which are constants of tantivy and no
settings. What must be held (phrases and fields) is looked up by positions, and has no part in the ranking.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from indexer.errors import IndexError_
from indexer.store.index import Required
from indexer.store.keys import KeyRanges, inside, merge_ranges
from indexer.store.language import Language, is_single
from indexer.store.lexical_writer import LexicalWriter, key_range, open_build, panics_as_errors, read_applied
from indexer.store.lock import WriteLock
from indexer.store.text import analyze, query_terms
from indexer.store.truth import Truth

_logger = logging.getLogger(__name__)
_MAX_QUERY_TERMS = 1024  # distinct; a pasted page keeps its first thousand
_TANTIVY_ERRORS = (ValueError, OSError, RuntimeError)
_MARGIN = 16  # hits more than are asked for: those that tie with the last one are rarely more
_MAX_TIES = 4096  # hits of one score that are fetched to cut a tie by key
_MAX_RANGES = 512  # of a filter, inside a query; more of them are quicker held against the hits


@dataclass(frozen=True, slots=True)
class _Reader:
    build: str
    sequence: int
    language: Language
    index: Any
    searcher: Any


_Answer = TypeVar("_Answer")


class Lexical:
    """BM25 search over one generation. Thread-safe; every search sees the newest commit of any process."""

    def __init__(self, folder: Path, truth: Truth, lock: WriteLock) -> None:
        self._folder, self._truth, self._lock = folder, truth, lock
        self._applied = folder / "applied.json"
        self._reader: _Reader | None = None
        self._stamp = (0, 0)  # of applied.json when it was last read
        self._refreshing = threading.Lock()

    def search(self, query: str, k: int, within: KeyRanges | None = None) -> list[tuple[int, float]]:
        """Return (key, score) of the k best chunks, best first, ties by key.

        `within` leaves only the chunks of these keys. It has no part in the scores.

        Raises:
            IndexError_: the index is damaged and another process holds the lock that repairing it needs.
        """
        if k < 1 or within == () or not query.strip():
            return []
        return self._with(lambda reader, target: self._search(reader, target, query, k, within))

    def holding(self, required: Iterable[Required]) -> KeyRanges | None:
        """Return the keys of the chunks that hold all of these words; None where there is nothing to hold.

        Raises:
            IndexError_: as of search().
        """
        return self._with(lambda reader, _: _holding(reader, required))

    def sequence(self) -> int:
        """Return the last sequence number that was applied; 0 when there is no index."""
        return int((read_applied(self._folder) or {}).get("sequence", 0))

    def keys(self) -> list[int]:
        """List every key in the index, in order."""
        from tantivy import Query

        searcher = self._fresh(self._truth.sequence()).searcher
        hits = searcher.search(Query.all_query(), limit=max(1, searcher.num_docs), count=False).hits
        return sorted(searcher.fast_field_values("key", [address for _, address in hits]))

    def close(self) -> None:
        """Let go of the files."""
        with self._refreshing:
            self._reader = None

    # --- reading

    def _with(self, ask: Callable[[_Reader, int], _Answer]) -> _Answer:
        """Ask the newest reader, told how far the truth is; where tantivy fails, once more after a rebuild."""
        target = self._truth.sequence()
        try:
            with panics_as_errors():
                return ask(self._fresh(target), target)
        except _TANTIVY_ERRORS as error:
            _logger.warning("lexical index %s failed: %s; rebuilding it", self._folder, error)
        try:
            with panics_as_errors():
                return ask(self._fresh(target, rebuild=True), target)
        except _TANTIVY_ERRORS as error:
            raise IndexError_(f"The lexical index {self._folder} fails: {error}", "Report this.") from error

    def _search(
        self, reader: _Reader, target: int, query: str, k: int, within: KeyRanges | None
    ) -> list[tuple[int, float]]:
        counts = Counter(query_terms(query, reader.language)).most_common(_MAX_QUERY_TERMS)
        if not counts:
            return []
        asked, limit = _query(reader.index.schema, counts), k + _MARGIN
        many = within is not None and len(within) > _MAX_RANGES
        if within is not None and not many:
            asked = _only(reader.index.schema, asked, within)
        while True:
            hits = reader.searcher.search(asked, limit=limit, count=False).hits
            keys = reader.searcher.fast_field_values("key", [address for _, address in hits])
            ranked = sorted(zip(keys, (score for score, _ in hits), strict=True), key=itemgetter(0))
            ranked.sort(key=itemgetter(1), reverse=True)  # which keeps the order of equals
            if many:
                allowed = inside(np.array([key for key, _ in ranked], np.int64), within or ())
                ranked = list(compress(ranked, allowed))
            if reader.sequence < target:
                alive = self._truth.existing(keys)
                ranked = [(key, score) for key, score in ranked if key in alive]
            complete = len(hits) < limit
            tie = len(ranked) > k and ranked[-1][1] == ranked[k - 1][1] and limit < k + _MAX_TIES
            if complete or (len(ranked) > k and not tie):
                return ranked[:k]
            limit *= 4

    def _fresh(self, target: int, rebuild: bool = False) -> _Reader:
        reader = self._reader
        if reader is not None and reader.sequence >= target and self._read_stamp() == self._stamp and not rebuild:
            return reader
        with self._refreshing:
            stamp = self._read_stamp()
            if self._reader is None or stamp != self._stamp or rebuild:
                self._stamp = stamp
                self._reader = None if rebuild else self._load()
            if self._reader is None or self._reader.sequence < target:
                self._catch_up_if_free(rebuild)
            if self._reader is None:
                raise IndexError_(
                    f"The lexical index {self._folder} is missing or damaged, and another process is writing",
                    "Try again when it has ended; `footnote verify --repair` rebuilds the index.",
                )
            return self._reader

    def _read_stamp(self) -> tuple[int, int]:
        try:
            stat = self._applied.stat()
        except OSError:
            return 0, 0
        return stat.st_mtime_ns, stat.st_ino

    def _catch_up_if_free(self, rebuild: bool) -> None:
        with self._lock.free() as held:
            if not held:
                return
            try:
                with LexicalWriter(self._folder, self._truth, rebuild=rebuild) as writer:
                    writer.catch_up()
            except IndexError_ as error:  # a full or read-only disk: what is there still answers
                _logger.warning("%s %s", error.message, error.remedy)
            self._reader = self._load()

    def _load(self) -> _Reader | None:
        """Open the current build, or move on in it; None when there is none or it is damaged."""
        while (applied := read_applied(self._folder)) is not None:
            build, sequence, language = applied["build"], applied["sequence"], applied["language"]
            try:
                if sequence > self._truth.sequence():
                    raise ValueError("it is ahead of the truth")
                if self._reader is not None and self._reader.build == build:
                    index = self._reader.index
                    index.reload()
                else:
                    index = open_build(self._folder / build, language)
                return _Reader(build, sequence, language, index, index.searcher())
            except Exception as error:
                if read_applied(self._folder) == applied:  # else a new build took its place meanwhile
                    _logger.warning("lexical index %s is damaged: %s", self._folder, error)
                    return None
        return None


def _query(schema: Any, counts: Sequence[tuple[str, int]]) -> Any:
    """Sum BM25 over the query's terms, each as often as it occurs. Built, not parsed: no text can be a syntax error."""
    from tantivy import Occur, Query

    queries = [
        (_in_a_pair(schema, "text", term) if is_single(term) else Query.term_query(schema, "text", term, "freq"), count)
        for term, count in counts
    ]
    return Query.boolean_query(
        [(Occur.Should, Query.boost_query(query, float(count)) if count > 1 else query) for query, count in queries]
    )


def _in_a_pair(schema: Any, field: str, sign: str) -> Any:
    from tantivy import Query

    return Query.regex_query(schema, field, f"{sign}|{sign}.|.{sign}")


def _holding(reader: _Reader, required: Iterable[Required]) -> KeyRanges | None:
    from tantivy import Occur, Query

    schema, parts = reader.index.schema, []
    for each in required:
        if terms := analyze(each.words, reader.language)[:_MAX_QUERY_TERMS]:
            parts.append((Occur.Must, _phrase(schema, each.field, terms)))
    if not parts:
        return None
    query = Query.boolean_query(parts)
    count = reader.searcher.search(query, limit=1).count
    hits = reader.searcher.search(query, limit=max(1, count), count=False).hits
    keys = reader.searcher.fast_field_values("key", [address for _, address in hits])
    return tuple(merge_ranges((key, key) for key in keys))


def _phrase(schema: Any, field: str, terms: Sequence[str]) -> Any:
    from tantivy import Query

    if len(terms) > 1:
        return Query.phrase_query(schema, field, list(terms))
    return _in_a_pair(schema, field, terms[0]) if is_single(terms[0]) else Query.term_query(schema, field, terms[0])


def _only(schema: Any, query: Any, within: KeyRanges) -> Any:
    """The query where the key is in one of the ranges, at the same scores."""
    from tantivy import Occur, Query

    ranges = Query.boolean_query([(Occur.Should, key_range(schema, first, last)) for first, last in within])
    return Query.boolean_query([(Occur.Must, query), (Occur.Must, Query.const_score_query(ranges, 0.0))])
