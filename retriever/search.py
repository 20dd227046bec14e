"""From a question to ranked chunks, with what each stage thought of every one of them."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Literal, Protocol

import numpy as np

from indexer.collection import Collection
from indexer.encoder import Encoder, Vectors
from indexer.errors import ConfigError, IndexError_, ModelError
from indexer.generation import Generation
from indexer.store.keys import KeyRanges, intersection
from indexer.store.records import StoredChunk
from indexer.store.text import embed_text
from retriever.asked import Asked, read_question
from retriever.expansion import mean_direction
from retriever.fusion import Normalisation, Ranking, convex, rrf, rrf_weights
from retriever.hit import Hit, join_stages
from retriever.request import MODES, Mode, SearchRequest, SearchResult
from retriever.rerank import Reranker, rerank

logger = logging.getLogger(__name__)
_BESIDE = 16  # threads: as many searches at once have their words looked up beside their vectors


@dataclass(frozen=True, slots=True)
class RetrieverSettings:
    """How to search. The defaults of the convex combination were measured: see docs/decisions.md."""

    fusion: Literal["convex", "rrf"] = "convex"
    dense_weight: float = 0.25  # of the convex combination, 0..1
    normalisation: Normalisation = "mixed"  # of the scores that are combined
    rrf_k: float = 60
    rrf_dense_weight: float = 0.5  # of the ranks, 0..1
    candidates: int = 100  # how many each of the two retrievers gives to the fusion
    rerank_candidates: int = 30  # how many the reranker reads
    rerank_weight: float = 1.0  # of the reranker's scores beside those before it, 0..1; 1 lets it decide alone
    rerank_batch: int = 16  # how many it reads at once
    rerank_budget_ms: float = 0.0  # beyond it the order before stands; 0 sets no limit
    lexical_engine: Literal["tantivy", "rank-bm25"] = "tantivy"
    max_query_chars: int = 8_000


@dataclass(frozen=True, slots=True)
class _Search:
    """One search under way, in one generation."""

    generation: Generation
    request: SearchRequest
    question: Asked
    timings_ms: dict[str, float]
    notes: list[str]

    @property
    def queries(self) -> tuple[str, ...]:
        """Everything that is searched for by itself, the question first."""
        expansion = self.request.expansion
        return (self.question.words, *(expansion.queries if expansion else ()))


class Retriever:
    """Searches one collection. Thread-safe; sees what any process commits at the next search.

    A search is answered by one generation from end to end. When a reindex has switched to one of another encoder,
    `renew` is asked for that; without it the search is refused.
    """

    def __init__(
        self,
        collection: Collection,
        encoder: Encoder | None,
        settings: RetrieverSettings | None = None,
        reranker: Reranker | None = None,
        renew: Callable[[], Encoder] | None = None,
    ) -> None:
        self._collection = collection
        self._encoder = encoder
        self._settings = settings or RetrieverSettings()
        self._reranker = reranker
        self._renew = renew
        self._rank_bm25: tuple[int, _Lexical] | None = None
        self._lock = threading.Lock()
        self._beside = ThreadPoolExecutor(_BESIDE, thread_name_prefix="bm25")  # starts no thread before a search

    def search(self, query: str, k: int = 10, mode: Mode = "hybrid", rerank: bool = False) -> tuple[Hit, ...]:
        """The hits of find(), for a question that needs nothing else."""
        return self.find(SearchRequest(query, k, mode, rerank)).hits

    def find(self, request: SearchRequest) -> SearchResult:
        """Find the `k` best chunks; fewer only when the collection does not hold more that match.

        Raises:
            ConfigError: the question is empty or too long, the mode needs an encoder, or `rerank` needs a reranker.
            IndexError_: the collection was built with another encoder.
        """
        self._check(request)
        # A lone surrogate is no text to any index.
        question = read_question(request.query.encode("utf-8", "replace").decode("utf-8"))
        while True:
            search = _Search(self._collection.generation, request, question, {}, [])
            try:
                hits = self._hits(search)
            except IndexError_:
                if self._collection.generation is search.generation:  # else it was switched off: ask the next one
                    raise
            else:
                reranker = self._reranker.name if self._reranker and hits and "rerank" in hits[0].parts else ""
                return SearchResult(hits, search.timings_ms, tuple(search.notes), reranker)

    def _hits(self, search: _Search) -> tuple[Hit, ...]:
        request = search.request
        stages = self._rank(search, self._within(search))
        with _clock(search, "fetch"):
            wanted = max(request.k, self._settings.rerank_candidates) if request.rerank else request.k
            found = _existing(search.generation, stages[_last(stages)], wanted)
        if request.rerank:
            with _clock(search, "rerank"):
                stages |= self._reranked(search, found, stages[_last(stages)])
        return join_stages(found, stages)[: request.k]

    def _within(self, search: _Search) -> KeyRanges | None:
        """Keys of the chunks that may be found; None lets all through."""
        generation, request, within = search.generation, search.request, None
        if request.asked or not request.access.is_full:
            with _clock(search, "filter"):
                within = self._collection.matching(request.asked, generation, request.access)
        if search.question.required:
            with _clock(search, "phrases"):
                within = _both(within, generation.lexical.holding(search.question.required), request.loosely)
        return within

    def _rank(self, search: _Search, within: KeyRanges | None) -> dict[str, Ranking]:
        """Rankings of the question's stages and, where more is searched for, of all fused; the last one decides."""
        vectors = self._encoded(search) if search.request.mode != "bm25" else None
        each = [
            self._rank_one(search, query, None if vectors is None else vectors[row], within)
            for row, query in enumerate(search.queries)
        ]
        stages = each[0]
        if len(each) > 1:
            with _clock(search, "fuse"):
                stages["queries"] = rrf([one[_last(one)] for one in each], self._settings.rrf_k)
        return stages

    def _rank_one(
        self, search: _Search, query: str, vector: Vectors | None, within: KeyRanges | None
    ) -> dict[str, Ranking]:
        depth = max(search.request.k, self._settings.candidates)
        if vector is None:
            return {"bm25": self._words(search, query, depth, within)}
        if search.request.mode == "dense":
            return {"dense": self._vectors(search, vector, depth, within)}
        # Both let go of the interpreter while they search, so they take as long as the slower one.
        search.timings_ms.setdefault("bm25", 0.0)  # its place is before those of dense search, whichever ends first
        words = self._beside.submit(self._words, search, query, depth, within)
        try:
            dense = self._vectors(search, vector, depth, within)
        except BaseException:
            wait([words])
            raise
        lexical = words.result()
        with _clock(search, "fuse"):
            fused = self._fuse(lexical, dense)
        return {"bm25": lexical, "dense": dense, self._settings.fusion: fused}

    def _words(self, search: _Search, query: str, depth: int, within: KeyRanges | None) -> Ranking:
        with _clock(search, "bm25"):
            return self._lexical(search.generation).search(query, depth, within)

    def _vectors(self, search: _Search, vector: Vectors, depth: int, within: KeyRanges | None) -> Ranking:
        with _clock(search, "dense"):
            return search.generation.dense.search(vector, depth, within)

    def _encoded(self, search: _Search) -> Vectors:
        """A row for each query; passages written for the question are encoded as passages are, and join its row."""
        encoder, expansion = self._encoder_of(search.generation), search.request.expansion
        with _clock(search, "encode"):
            rows = encoder.encode(search.queries, encoder.query_instruction)
            if expansion and expansion.passages:
                written = encoder.encode(expansion.passages)
                rows = np.stack([mean_direction(np.vstack([rows[:1], written])), *rows[1:]])
        return rows

    def _check(self, request: SearchRequest) -> None:
        query, limit = request.query, self._settings.max_query_chars
        if not query.strip():
            raise ConfigError("The question is empty", "Ask something in words.")
        if len(query) > limit:
            raise ConfigError(
                f"The question has {len(query):,} characters, the limit is {limit:,}",
                "Shorten it, or raise retriever.max_query_chars.",
            )
        if request.mode not in MODES:
            raise ConfigError(f'"{request.mode}" is not a search mode', f"Choose one of: {', '.join(MODES)}.")
        if request.k < 1:
            raise ConfigError(f"{request.k} results were asked for", "Ask for at least one.")
        if request.rerank and self._reranker is None:
            raise ConfigError(
                "Reranking was asked for, but no reranker is configured",
                "Set retriever.reranker to the folder or hub name of a cross-encoder, or to generator.",
            )

    def _encoder_of(self, generation: Generation) -> Encoder:
        if self._encoder is None:
            raise ConfigError("Dense search needs an encoder, and none is loaded", "Use the mode bm25.")
        manifest = generation.truth.manifest()
        with self._lock:
            if self._renew is not None and manifest is not None and manifest.fingerprint != self._encoder.fingerprint:
                self._encoder = self._renew()
            encoder = self._encoder
        if manifest is not None and manifest.fingerprint != encoder.fingerprint:
            self._collection.check_encoder(encoder.fingerprint, generation)
        return encoder

    def _fuse(self, lexical: Ranking, dense: Ranking) -> Ranking:
        if self._settings.fusion == "rrf":
            return rrf([lexical, dense], self._settings.rrf_k, rrf_weights(self._settings.rrf_dense_weight))
        return convex(lexical, dense, self._settings.dense_weight, self._settings.normalisation)

    def _reranked(self, search: _Search, found: Mapping[int, StoredChunk], before: Ranking) -> dict[str, Ranking]:
        """What the reranker adds. Where it fails or has no time, nothing: the whole order before it stands."""
        assert self._reranker is not None
        settings = self._settings
        head = {key: found[key] for key in list(found)[: settings.rerank_candidates]}
        try:
            added = rerank(
                self._reranker,
                search.question.words,
                head,
                before,
                weight=settings.rerank_weight,
                batch=settings.rerank_batch,
                budget_ms=settings.rerank_budget_ms,
            )
        except ModelError as error:
            logger.warning("not reranked: %s", error.message)
            search.notes.append(f"Not reranked: {error.message}")
            return {}
        if added is None:
            search.notes.append(
                f"Not reranked: {len(head)} passages take longer than {settings.rerank_budget_ms:g} ms."
            )
        return added or {}

    def _lexical(self, generation: Generation) -> "_Lexical":
        if self._settings.lexical_engine == "tantivy":
            return generation.lexical
        from retriever.bm25 import RankBM25

        with self._lock:
            sequence = generation.truth.sequence()
            if self._rank_bm25 is None or self._rank_bm25[0] != sequence:
                passages = ((key, embed_text(title, path, text)) for key, title, path, text in generation.truth.texts())
                self._rank_bm25 = sequence, RankBM25(passages, generation.truth.language())
            return self._rank_bm25[1]


class _Lexical(Protocol):
    def search(self, query: str, k: int, within: KeyRanges | None = None) -> list[tuple[int, float]]: ...


def _both(within: KeyRanges | None, holding: KeyRanges | None, loosely: bool) -> KeyRanges | None:
    """What filter and phrases let through; `loosely`, what the filter does where nothing holds both."""
    if within is None or holding is None:
        met = holding if within is None else within
    else:
        met = intersection(within, holding)
    return within if loosely and not met else met


def _existing(generation: Generation, ranking: Ranking, wanted: int) -> dict[int, StoredChunk]:
    """Read the first `wanted` of the ranked that still exist, in order: one may have been deleted meanwhile."""
    found: dict[int, StoredChunk] = {}
    for at in range(0, len(ranking), wanted):
        keys = [key for key, _ in ranking[at : at + wanted]]
        chunks = generation.truth.chunks(keys)
        found.update((key, chunks[key]) for key in keys if key in chunks)
        if len(found) >= wanted:
            break
    return dict(list(found.items())[:wanted])


def _last(stages: dict[str, Ranking]) -> str:
    return next(reversed(stages))


@contextmanager
def _clock(search: _Search, stage: str) -> Iterator[None]:
    began = perf_counter()
    yield
    search.timings_ms[stage] = search.timings_ms.get(stage, 0.0) + (perf_counter() - began) * 1000
