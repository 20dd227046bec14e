"""Which of the found chunks go into the prompt: each passage once, in the order found."""

from collections.abc import Sequence

from indexer.document import Chunk
from retriever.hit import Hit

COVERED_SHARE = 0.5  # a chunk with this share of its characters already selected adds too little


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
