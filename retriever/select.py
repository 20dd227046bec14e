"""Which of the found chunks go into the prompt, and in which order. Each step is a function of its own."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from indexer.document import Chunk
from indexer.store.text import analyze
from retriever.fusion import min_max
from retriever.hit import Hit
from retriever.similar import Shingles, cosine, resemblance, shingles

COVERED_SHARE = 0.5  # a chunk with this share of its characters already selected adds too little

Order = Literal["best-first", "best-at-ends"]
Why = Literal["repeat", "near-duplicate", "document", "rank", "tokens"]


@dataclass(frozen=True, slots=True)
class SelectionSettings:
    """How the context is chosen. What each default was measured against is in docs/decisions.md."""

    pool: int = 0  # how many are found to choose from; 0: as many as are wanted
    near_duplicate: float = 1.0  # resemblance from which a passage is left out; 1 leaves out only repeats
    per_document: int = 0  # most chunks of one document; 0: any number
    diversity: float = 0.0  # weight of unlikeness in MMR, 0..1; 0 chooses by rank
    join: bool = False  # whether chunks that touch become one passage
    order: Order = "best-first"  # in which a model that reads them together gets them


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A found chunk that did not get into the prompt, and which step left it out."""

    hit: Hit
    why: Why


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen hits, best first, and those that were not."""

    hits: tuple[Hit, ...]
    left_out: tuple[LeftOut, ...] = field(default=())


def select(hits: Sequence[Hit], most: int, settings: SelectionSettings) -> Selection:
    """Choose at most `most` of the hits, which are best first."""
    steps: tuple[tuple[Why, Callable[[Sequence[Hit]], tuple[Hit, ...]]], ...] = (
        ("repeat", drop_repeats),
        ("near-duplicate", lambda left: drop_near_duplicates(left, settings.near_duplicate)),
        ("document", lambda left: limit_per_document(left, settings.per_document)),
        ("rank", lambda left: diversify(left, most, settings.diversity)),
    )
    left, out = tuple(hits), list[LeftOut]()
    for why, step in steps:
        kept = step(left)
        ids = {id(hit) for hit in kept}
        out += [LeftOut(hit, why) for hit in left if id(hit) not in ids]
        left = kept
    return Selection(left, tuple(out))


def drop_repeats(hits: Sequence[Hit]) -> tuple[Hit, ...]:
    """Hits without those whose words a better hit already has: the same text, or the same part of a document."""
    kept: list[Hit] = []
    texts: set[str] = set()
    for hit in hits:
        words = " ".join(hit.chunk.text.split()).casefold()
        if words in texts or _covered(hit.chunk, [other.chunk for other in kept]) >= COVERED_SHARE:
            continue
        texts.add(words)
        kept.append(hit)
    return tuple(kept)


def drop_near_duplicates(hits: Sequence[Hit], threshold: float) -> tuple[Hit, ...]:
    """Hits without those that resemble a better one by `threshold` or more; a threshold of 1 keeps all."""
    if threshold >= 1:
        return tuple(hits)
    kept = list[Hit]()
    known: list[Shingles] = []
    for hit in hits:
        own = shingles(hit.chunk.text)
        if all(resemblance(own, other) < threshold for other in known):
            kept.append(hit)
            known.append(own)
    return tuple(kept)


def limit_per_document(hits: Sequence[Hit], most: int) -> tuple[Hit, ...]:
    """The `most` best hits of each document; 0 sets no limit."""
    if not most:
        return tuple(hits)
    counts, kept = Counter[str](), list[Hit]()
    for hit in hits:
        counts[hit.chunk.document_id] += 1
        if counts[hit.chunk.document_id] <= most:
            kept.append(hit)
    return tuple(kept)


def diversify(hits: Sequence[Hit], most: int, diversity: float) -> tuple[Hit, ...]:
    """Choose `most` hits one after the other, each for its relevance and for being unlike those chosen before.

    Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998) with lambda = 1 - `diversity`. Relevance is the
    score between the worst and the best of `hits`, likeness the cosine of term counts. Among equals the better rank
    goes first; without diversity that is the order found.
    """
    if diversity <= 0:
        return tuple(hits[:most])
    # What a reranker did not read has a score of another kind, and stands below all that it read.
    relevance = min_max([(place, hit.score) for place, hit in enumerate(hits) if hit.stage == hits[0].stage])
    counts = [Counter(analyze(hit.chunk.text)) for hit in hits]
    likeness = [0.0] * len(hits)  # of each to the most alike that was chosen
    chosen: list[int] = []

    def marginal(place: int) -> float:
        return (1 - diversity) * relevance.get(place, 0.0) - diversity * likeness[place]

    while len(chosen) < min(most, len(hits)):
        rest = [place for place in range(len(hits)) if place not in chosen]
        best = max(rest, key=lambda place: (marginal(place), -place))
        chosen.append(best)
        likeness = [max(known, cosine(counts[best], own)) for known, own in zip(likeness, counts, strict=True)]
    return tuple(hits[place] for place in chosen)


def arrange(hits: Sequence[Hit], order: Order) -> tuple[Hit, ...]:
    """Put hits, which are best first, in the order in which a model reads them.

    best-at-ends gives the best first, the second best last and the weakest in the middle, which models overlook
    (Liu et al. 2023, Lost in the Middle).
    """
    return tuple(hits) if order == "best-first" else (*hits[::2], *reversed(hits[1::2]))


def _covered(chunk: Chunk, others: Sequence[Chunk]) -> float:
    """Share of the chunk's characters that lie inside the others' spans of the same document."""
    spans = sorted((other.start, other.end) for other in others if other.document_id == chunk.document_id)
    covered, reached = 0, chunk.start
    for start, end in spans:
        start, end = max(start, reached), min(end, chunk.end)
        if end > start:
            covered += end - start
            reached = end
    return covered / max(1, chunk.end - chunk.start)
