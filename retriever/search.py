"""From a question to ranked chunks, with what each stage thought of every one of them."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Literal, Protocol, get_args

import numpy as np

from indexer.access import FULL, Access
from indexer.collection import Collection
from indexer.encoder import Encoder, Vectors
from indexer.errors import ConfigError, IndexError_, ModelError
from indexer.filter import EVERYTHING, Filter
from indexer.generation import Generation
from indexer.store.index import Required
from indexer.store.keys import KeyRanges, intersection
from indexer.store.records import StoredChunk
from indexer.store.text import embed_text
from retriever.asked import read_question
from retriever.expansion import Expansion, mean_direction
from retriever.fusion import Normalisation, Ranking, best_first, blend, convex, rrf, rrf_weights
from retriever.hit import Hit, join_stages
from retriever.rerank import Reranker, score_within

logger = logging.getLogger(__name__)

Mode = Literal["bm25", "dense", "hybrid"]
MODES: tuple[str, ...] = get_args(Mode)
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
class _Request:
    """One search as it was asked for."""

    query: str
    k: int
    mode: Mode
    rerank: bool
    asked: Filter
    access: Access
    required: tuple[Required, ...]  # phrases and words of fields
    loosely: bool
    expansion: Expansion | None

    @property
    def queries(self) -> tuple[str, ...]:
        """Everything that is searched for by itself, the question first."""
        return (self.query, *(self.expansion.queries if self.expansion else ()))


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

    def search(
        self,
        query: str,
        k: int = 10,
        mode: Mode = "hybrid",
        rerank: bool = False,
        timings_ms: dict[str, float] | None = None,
        asked: Filter = EVERYTHING,
        access: Access = FULL,
        *,
        loosely: bool = False,
        expansion: Expansion | None = None,
        notes: list[str] | None = None,
    ) -> tuple[Hit, ...]:
        """Return the `k` best chunks; fewer only when the collection does not hold more that match.

        Phrases in quotation marks, title: and heading: (retriever/asked.py) leave only chunks that hold all of them;
        `loosely` takes them for words where no chunk does, as a question in conversation may quote from memory.

        `timings_ms`, when given, gets the time of every stage that ran, such as bm25 or fuse; `notes` what was asked
        for and left out, such as reranking by a model that failed.
        Only documents that hold the filter `asked` and that `access` may read are searched: both come before every
        ranking. With an `expansion` its texts are searched for, too; a reranker reads the question alone.

        Raises:
            ConfigError: the question is empty or too long, the mode needs an encoder, or `rerank` needs a reranker.
            IndexError_: the collection was built with another encoder.
        """
        self._check(query, k, mode, rerank)
        query = query.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate is no text to any index
        read = read_question(query)
        request = _Request(read.words, k, mode, rerank, asked, access, read.required, loosely, expansion)
        while True:
            generation = self._collection.generation
            timings: dict[str, float] = {}
            left_out: list[str] = []
            try:
                hits = self._search(generation, request, timings, left_out)
            except IndexError_:
                if self._collection.generation is generation:  # else it was switched off meanwhile: ask the next one
                    raise
                continue
            if timings_ms is not None:
                timings_ms.update(timings)
            if notes is not None:
                notes += left_out
            return hits

    def _search(
        self, generation: Generation, request: _Request, timings: dict[str, float], notes: list[str]
    ) -> tuple[Hit, ...]:
        k = request.k
        stages = self._rank(generation, request, self._within(generation, request, timings), timings)
        keys = [key for key, _ in stages[_last(stages)]]
        with _clock(timings, "fetch"):
            wanted = max(k, self._settings.rerank_candidates) if request.rerank else k
            found = self._existing(generation, keys, wanted)
        if request.rerank:
            with _clock(timings, "rerank"):
                stages |= self._reranked(request.query, found, stages[_last(stages)], notes)
        return join_stages(found, stages)[:k]

    def _within(self, generation: Generation, request: _Request, timings: dict[str, float]) -> KeyRanges | None:
        """Keys of the chunks that may be found; None lets all through."""
        within = None
        if request.asked or not request.access.is_full:
            with _clock(timings, "filter"):
                within = self._collection.matching(request.asked, generation, request.access)
        if request.required:
            with _clock(timings, "phrases"):
                within = _both(within, generation.lexical.holding(request.required), request.loosely)
        return within

    def _rank(
        self, generation: Generation, request: _Request, within: KeyRanges | None, timings: dict[str, float]
    ) -> dict[str, Ranking]:
        """Rankings of the question's stages and, where more is searched for, of all fused; the last one decides."""
        vectors = None
        if request.mode != "bm25":
            vectors = self._encoded(generation, request, timings)
        each = [
            self._rank_one(generation, query, None if vectors is None else vectors[row], request, within, timings)
            for row, query in enumerate(request.queries)
        ]
        stages = each[0]
        if len(each) > 1:
            with _clock(timings, "fuse"):
                stages["queries"] = rrf([one[_last(one)] for one in each], self._settings.rrf_k)
        return stages

    def _rank_one(
        self,
        generation: Generation,
        query: str,
        vector: Vectors | None,
        request: _Request,
        within: KeyRanges | None,
        timings: dict[str, float],
    ) -> dict[str, Ranking]:
        depth, mode = max(request.k, self._settings.candidates), request.mode
        if vector is None:
            return {"bm25": self._words(generation, query, depth, within, timings)}
        if mode == "dense":
            return {"dense": self._vectors(generation, vector, depth, within, timings)}
        # Both let go of the interpreter while they search, so they take as long as the slower one.
        timings.setdefault("bm25", 0.0)  # its place is before those of dense search, whichever ends first
        words = self._beside.submit(self._words, generation, query, depth, within, timings)
        try:
            dense = self._vectors(generation, vector, depth, within, timings)
        except BaseException:
            wait([words])
            raise
        lexical = words.result()
        with _clock(timings, "fuse"):
            fused = self._fuse(lexical, dense)
        return {"bm25": lexical, "dense": dense, self._settings.fusion: fused}

    def _words(
        self, generation: Generation, query: str, depth: int, within: KeyRanges | None, timings: dict[str, float]
    ) -> Ranking:
        with _clock(timings, "bm25"):
            return self._lexical(generation).search(query, depth, within)

    def _vectors(
        self, generation: Generation, vector: Vectors, depth: int, within: KeyRanges | None, timings: dict[str, float]
    ) -> Ranking:
        with _clock(timings, "dense"):
            return generation.dense.search(vector, depth, within)

    def _encoded(self, generation: Generation, request: _Request, timings: dict[str, float]) -> Vectors:
        """A row for each query; passages written for the question are encoded as passages are, and join its row."""
        encoder = self._encoder_of(generation)
        with _clock(timings, "encode"):
            rows = encoder.encode(request.queries, encoder.query_instruction)
            if request.expansion and request.expansion.passages:
                written = encoder.encode(request.expansion.passages)
                rows = np.stack([mean_direction(np.vstack([rows[:1], written])), *rows[1:]])
        return rows

    def _check(self, query: str, k: int, mode: str, rerank: bool) -> None:
        limit = self._settings.max_query_chars
        if not query.strip():
            raise ConfigError("The question is empty", "Ask something in words.")
        if len(query) > limit:
            raise ConfigError(
                f"The question has {len(query):,} characters, the limit is {limit:,}",
                "Shorten it, or raise retriever.max_query_chars.",
            )
        if mode not in MODES:
            raise ConfigError(f'"{mode}" is not a search mode', f"Choose one of: {', '.join(MODES)}.")
        if k < 1:
            raise ConfigError(f"{k} results were asked for", "Ask for at least one.")
        if rerank and self._reranker is None:
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

    def _existing(self, generation: Generation, keys: Sequence[int], wanted: int) -> dict[int, StoredChunk]:
        """Read the first `wanted` of the keys that still exist, in their order: one may have been deleted meanwhile."""
        found: dict[int, StoredChunk] = {}
        for at in range(0, len(keys), wanted):
            chunks = generation.truth.chunks(keys[at : at + wanted])
            found.update((key, chunks[key]) for key in keys[at : at + wanted] if key in chunks)
            if len(found) >= wanted:
                break
        return dict(list(found.items())[:wanted])

    def _reranked(
        self, query: str, found: Mapping[int, StoredChunk], before: Ranking, notes: list[str]
    ) -> dict[str, Ranking]:
        """What the reranker adds. Where it fails or has no time, nothing: the whole order before it stands."""
        assert self._reranker is not None
        settings = self._settings
        head = list(found)[: settings.rerank_candidates]
        chunks = [found[key] for key in head]
        texts = [embed_text(stored.title, stored.chunk.heading_path, stored.chunk.text) for stored in chunks]
        budget_ms = settings.rerank_budget_ms
        try:
            scores = score_within(self._reranker, query, texts, settings.rerank_batch, budget_ms)
        except ModelError as error:
            logger.warning("not reranked: %s", error.message)
            notes.append(f"Not reranked: {error.message}")
            return {}
        if scores is None:
            notes.append(f"Not reranked: {len(texts)} passages take longer than {budget_ms:g} ms.")
            return {}
        reranked = best_first(zip(head, scores, strict=True))
        if settings.rerank_weight == 1:
            return {"rerank": reranked}
        read = set(head)
        first = [(key, score) for key, score in before if key in read]
        return {"rerank": reranked, "blend": blend(first, reranked, settings.rerank_weight)}

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


def _last(stages: dict[str, Ranking]) -> str:
    return next(reversed(stages))


@contextmanager
def _clock(timings_ms: dict[str, float], stage: str) -> Iterator[None]:
    began = perf_counter()
    yield
    timings_ms[stage] = timings_ms.get(stage, 0.0) + (perf_counter() - began) * 1000
