"""Which of the found chunks go into the prompt: each passage once, within a budget, in the order found."""

from collections.abc import Callable, Sequence

from indexer.document import Chunk
from retriever.hit import Hit

COVERED_SHARE = 0.5  # a chunk with this share of its characters already selected adds too little


def select(
    hits: Sequence[Hit],
    count_tokens: Callable[[Sequence[str]], list[int]],
    max_tokens: int,
    max_hits: int | None = None,
) -> tuple[Hit, ...]:
    """Take hits from the top while they fit; a hit too large for what is left makes room for later, smaller ones.

    `count_tokens` gives the tokens of each text under the tokenizer that the budget is meant for.
    """
    distinct = drop_repeats(hits)
    sizes = count_tokens([hit.chunk.text for hit in distinct])
    taken: list[Hit] = []
    left = max_tokens
    for hit, size in zip(distinct, sizes, strict=True):
        if max_hits is not None and len(taken) == max_hits:
            break
        if size <= left:
            taken.append(hit)
            left -= size
    return tuple(taken)


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
