"""From a question to ranked chunks, with what each stage thought of every one of them."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from types import MappingProxyType
from typing import Literal, Protocol, get_args

from indexer.access import FULL, Access
from indexer.collection import Collection, Generation
from indexer.encoder import Encoder
from indexer.errors import ConfigError, IndexError_
from indexer.filter import EVERYTHING, Filter
from indexer.store.keys import KeyRanges, intersection
from indexer.store.records import StoredChunk
from indexer.store.text import embed_text
from retriever.asked import read_question
from retriever.fusion import Normalisation, Ranking, best_first, convex, rrf, rrf_weights
from retriever.hit import Hit, Part
from retriever.rerank import Reranker

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
    lexical_engine: Literal["tantivy", "rank-bm25"] = "tantivy"
    max_query_chars: int = 8_000


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
        loosely: bool = False,
    ) -> tuple[Hit, ...]:
        """Return the `k` best chunks; fewer only when the collection does not hold more that match.

        Phrases in quotation marks, title: and heading: (retriever/asked.py) leave only chunks that hold all of them;
        `loosely` takes them for words where no chunk does, as a question in conversation may quote from memory.

        `timings_ms`, when given, gets the time of every stage that ran, such as bm25 or fuse.
        Only documents that hold the filter `asked` and that `access` may read are searched: both come before every
        ranking.

        Raises:
            ConfigError: the question is empty or too long, the mode needs an encoder, or `rerank` needs a reranker.
            IndexError_: the collection was built with another encoder.
        """
        self._check(query, k, mode, rerank)
        query = query.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate is no text to any index
        timings = {} if timings_ms is None else timings_ms
        while True:
            generation = self._collection.generation
            try:
                return self._search(generation, query, k, mode, rerank, asked, access, loosely, timings)
            except IndexError_:
                if self._collection.generation is generation:  # else it was switched off meanwhile: ask the next one
                    raise

    def _search(
        self,
        generation: Generation,
        query: str,
        k: int,
        mode: Mode,
        rerank: bool,
        asked: Filter,
        access: Access,
        loosely: bool,
        timings: dict[str, float],
    ) -> tuple[Hit, ...]:
        question = read_question(query)
        within = None
        if asked or not access.is_full:
            with _clock(timings, "filter"):
                within = self._collection.matching(asked, generation, access)
        if question.required:
            with _clock(timings, "phrases"):
                within = _both(within, generation.lexical.holding(question.required), loosely)
        query = question.words
        stages = self._rank(generation, query, mode, max(k, self._settings.candidates), within, timings)
        keys = [key for key, _ in stages[_last(stages)]]
        with _clock(timings, "fetch"):
            found = self._existing(generation, keys, max(k, self._settings.rerank_candidates) if rerank else k)
        if rerank:
            with _clock(timings, "rerank"):
                stages["rerank"] = self._rerank(query, found)
        return _hits(found, stages)[:k]

    def _rank(
        self,
        generation: Generation,
        query: str,
        mode: Mode,
        depth: int,
        within: KeyRanges | None,
        timings: dict[str, float],
    ) -> dict[str, Ranking]:
        """Rankings of the stages that the mode has; the last one decides."""
        if mode == "bm25":
            return {"bm25": self._words(generation, query, depth, within, timings)}
        if mode == "dense":
            return {"dense": self._dense(generation, query, depth, within, timings)}
        # Both let go of the interpreter while they search, so they take as long as the slower one.
        timings["bm25"] = 0.0  # its place is before those of dense search, whichever ends first
        words = self._beside.submit(self._words, generation, query, depth, within, timings)
        try:
            dense = self._dense(generation, query, depth, within, timings)
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
                "Set retriever.reranker to the folder of a sentence-transformers cross-encoder.",
            )

    def _dense(
        self, generation: Generation, query: str, depth: int, within: KeyRanges | None, timings: dict[str, float]
    ) -> Ranking:
        encoder = self._encoder_of(generation)
        with _clock(timings, "encode"):
            vector = encoder.encode([query], encoder.query_instruction)[0]
        with _clock(timings, "dense"):
            return generation.dense.search(vector, depth, within)

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

    def _rerank(self, query: str, found: Mapping[int, StoredChunk]) -> Ranking:
        assert self._reranker is not None
        head = list(found)[: self._settings.rerank_candidates]
        chunks = [found[key] for key in head]
        texts = [embed_text(stored.title, stored.chunk.heading_path, stored.chunk.text) for stored in chunks]
        return best_first(zip(head, self._reranker.score(query, texts), strict=True))

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


def _hits(found: Mapping[int, StoredChunk], stages: dict[str, Ranking]) -> tuple[Hit, ...]:
    """Join chunks with every stage's verdict, in the order of the last stage.

    What the reranker did not read follows in the order of the stage before it, and is marked with that stage.
    """
    parts: dict[int, dict[str, Part]] = {key: {} for key in found}
    for stage, ranking in stages.items():
        for rank, (key, score) in enumerate(ranking, start=1):
            if key in parts:
                parts[key][stage] = Part(score, rank)
    read = [key for key, _ in stages.get("rerank", ()) if key in found]
    order = dict.fromkeys([*read, *found])  # the chunks were found in the order of the stage before that
    hits = []
    for rank, key in enumerate(order, start=1):
        stage = next(name for name in reversed(stages) if name in parts[key])
        stored, score = found[key], parts[key][stage].score
        hits.append(Hit(stored.chunk, stored.source, stored.title, score, rank, stage, MappingProxyType(parts[key])))
    return tuple(hits)


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
    timings_ms[stage] = (perf_counter() - began) * 1000
