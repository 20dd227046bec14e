"""The keys of finding passages and choosing among them. The docstrings are the reference."""

from typing import Literal

from pydantic import Field

from app.sections.section import Section


class SelectionSection(Section):
    """Choosing an answer's passages from what was found. What it was not given is in its trace (left_out)."""

    pool: int = Field(default=0, ge=0, le=1000)
    """How many passages are found to choose from; 0: no more than generator.passages, and a repeat leaves a gap."""

    near_duplicate: float = Field(default=1, gt=0, le=1)
    """A passage is left out if so large a share of its runs of four words is that of a better one; 1 leaves out only
    exact repeats."""

    per_document: int = Field(default=0, ge=0)
    """Most chunks of one document; 0 sets no limit."""

    diversity: float = Field(default=0, ge=0, le=1)
    """How much a passage has to be unlike those chosen before it (MMR, 1 - lambda); 0 chooses by rank alone. Needs a
    pool."""

    join: bool = False
    """Whether chosen chunks of one document that touch are given as one passage. The embedded reader reads the first
    384 tokens of a passage."""

    order: Literal["best-first", "best-at-ends"] = "best-first"
    """In which order a server's model gets the passages: best-at-ends has the weakest in the middle, which models
    overlook. The embedded reader reads one by one."""


class RetrieverSection(Section):
    """Finding passages."""

    mode: Literal["bm25", "dense", "hybrid"] = "hybrid"
    """How `ask` and the chat page search, and `search` when it is not told."""

    rerank: bool = False
    """Whether `ask` and the chat page let the reranker order the best passages again."""

    fusion: Literal["convex", "rrf"] = "convex"
    """How bm25 and dense are joined: by weighted scores, or by ranks alone."""

    dense_weight: float = Field(default=0.25, ge=0, le=1)
    """Share of the dense score in the convex fusion; the rest is bm25's."""

    normalisation: Literal["mixed", "min-max", "theoretical", "z-score"] = "mixed"
    """How scores are made comparable: mixed counts bm25 from 0 and dense from the worst found; min-max counts both from
    the worst found, theoretical both from the worst there can be, z-score in standard deviations."""

    rrf_k: float = Field(default=60, gt=0)
    """The constant of reciprocal rank fusion: larger makes the first ranks count less."""

    rrf_dense_weight: float = Field(default=0.5, ge=0, le=1)
    """Share of the dense ranks in reciprocal rank fusion; the rest is bm25's."""

    candidates: int = Field(default=100, ge=1, le=10_000)
    """How many passages bm25 and dense each give to the fusion."""

    rerank_candidates: int = Field(default=30, ge=1)
    """How many passages the reranker reads."""

    reranker: str | None = None
    """Folder or hub name of a sentence-transformers cross-encoder, or generator: the server at generator.base_url,
    which says yes or no of each passage. Without one, `--rerank` is refused."""

    rerank_weight: float = Field(default=1, ge=0, le=1)
    """Share of the reranker's scores in the order of what it reads; the rest is that of the scores before. 1 lets the
    reranker decide alone."""

    rerank_batch: int = Field(default=16, ge=1, le=256)
    """How many passages the reranker reads at once; of a server, how many requests."""

    rerank_budget_ms: float = Field(default=0, ge=0)
    """Longest time for reranking. What takes longer is left, the order before stands, and the answer's notes say so; 0
    sets no limit."""

    expansion: Literal["none", "hyde", "multi-query", "decompose"] = "none"
    """What the server at generator.base_url writes to be searched for beside the question of `ask` and the chat page:
    hyde a passage that might answer it (for its vector), multi-query the question in other words, decompose the simpler
    questions in it."""

    expansion_queries: int = Field(default=3, ge=1, le=8)
    """Most questions that multi-query and decompose write."""

    expansion_tokens: int = Field(default=128, ge=8, le=1024)
    """Most tokens of what is written."""

    lexical_engine: Literal["tantivy", "rank-bm25"] = "tantivy"
    """The bm25 engine; rank-bm25 scores as that package's BM25Okapi does, in memory, and is for small collections."""

    max_query_chars: int = Field(default=8_000, ge=1)
    """A longer question is refused."""

    selection: SelectionSection = SelectionSection()
    """Which of the found passages an answer is written from."""
