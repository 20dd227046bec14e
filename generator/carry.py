"""Evidence that is carried from one turn of a conversation to the next."""

from collections.abc import Sequence
from dataclasses import replace

from generator.align import coverages
from retriever.hit import Hit, Part


def carry(hits: Sequence[Hit], earlier: Sequence[Hit], query: str, most: int) -> tuple[Hit, ...]:
    """Let the passages that the last answer rested on compete again for the places of a follow-up's hits.

    What decides is the share of the query's words in a passage. The best of `earlier` takes a free place, if there are
    fewer than `most` hits, else that of the last hit with a smaller share; and so on. Hits that stay keep their order;
    ranks are counted anew. What was found anyway is not given twice.
    """
    known = {hit.chunk.id for hit in hits}
    unfound = [hit for hit in earlier if hit.chunk.id not in known]
    shares = coverages(query, [_words(hit) for hit in (*hits, *unfound)])
    kept = list(zip(hits, shares, strict=False))
    for hit, share in sorted(zip(unfound, shares[len(hits) :], strict=True), key=lambda pair: -pair[1]):
        weaker = [place for place, (_, other) in enumerate(kept) if other < share]
        carried = (replace(hit, score=share, stage="carried", parts={"carried": Part(share, 1)}), share)
        if len(kept) < most and share > 0:
            kept.append(carried)
        elif weaker:
            kept[weaker[-1]] = carried
    return tuple(replace(hit, rank=rank) for rank, (hit, _) in enumerate(kept, start=1))


def _words(hit: Hit) -> str:
    return "\n".join([hit.title, *hit.chunk.heading_path, hit.chunk.text])
