"""A found chunk, and what each stage of the search thought of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from indexer.document import Chunk


@dataclass(frozen=True, slots=True)
class Part:
    """Score and rank (from 1) that one stage gave to a chunk."""

    score: float
    rank: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk with its final rank (from 1), the stage that ranked it, and every stage's verdict."""

    chunk: Chunk
    source: str  # of the chunk's document
    title: str  # of the chunk's document
    score: float
    rank: int
    stage: str  # "bm25", "dense", "convex", "rrf", "queries" (rankings of several), "rerank" or "blend" (with it)
    parts: Mapping[str, Part] = field(default_factory=lambda: MappingProxyType({}))
