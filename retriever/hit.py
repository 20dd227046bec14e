"""A found chunk, and what each stage of the search thought of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from indexer.document import Chunk
from indexer.store.records import StoredChunk
from retriever.fusion import Ranking


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


def join_stages(found: Mapping[int, StoredChunk], stages: dict[str, Ranking]) -> tuple[Hit, ...]:
    """Join chunks with every stage's verdict, in the order of the last stage.

    What a reranker did not read follows in the order of the stage before it, in which the chunks were found, and is
    marked with that stage.
    """
    parts: dict[int, dict[str, Part]] = {key: {} for key in found}
    ranked: list[int] = []  # of the last stage
    for stage, ranking in stages.items():
        ranked = []
        for rank, (key, score) in enumerate(ranking, start=1):
            if key in parts:
                parts[key][stage] = Part(score, rank)
                ranked.append(key)
                if len(ranked) == len(parts):
                    break
    hits = []
    for rank, key in enumerate(dict.fromkeys([*ranked, *found]), start=1):
        stage = next(name for name in reversed(stages) if name in parts[key])
        stored, score = found[key], parts[key][stage].score
        hits.append(Hit(stored.chunk, stored.source, stored.title, score, rank, stage, MappingProxyType(parts[key])))
    return tuple(hits)
