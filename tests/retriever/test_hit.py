"""Stages joined to hits: the same as looking every chunk up in every ranking."""

import random

from hypothesis import given
from hypothesis import strategies as st

from indexer.document import Chunk
from indexer.store.records import StoredChunk
from retriever.hit import Part, join_stages

KEYS = st.lists(st.integers(0, 40), unique=True, max_size=30)


def stored(key: int) -> StoredChunk:
    return StoredChunk(Chunk(f"d:{key}", "d", "text", 0, 4), "/d.txt", "D")


@given(KEYS, KEYS, st.integers(0, 12), st.integers(0, 30), st.randoms(use_true_random=False))
def test_every_part_is_the_place_in_its_ranking(
    lexical: list[int], dense: list[int], wanted: int, read: int, draw: random.Random
) -> None:
    fused = sorted({*lexical, *dense})
    draw.shuffle(fused)
    there = [key for key in fused if draw.random() < 0.9][:wanted]  # the others were deleted meanwhile
    reranked = there[:read]
    draw.shuffle(reranked)
    orders = {"bm25": lexical, "dense": dense, "convex": fused, "rerank": reranked}
    if draw.random() < 0.5:
        del orders["rerank"]
        reranked = []
    stages = {name: [(key, -float(at)) for at, key in enumerate(order)] for name, order in orders.items()}
    hits = join_stages({key: stored(key) for key in there}, stages)
    expected = [*reranked, *(key for key in there if key not in reranked)]
    assert [hit.chunk.id for hit in hits] == [f"d:{key}" for key in expected]
    assert [hit.rank for hit in hits] == list(range(1, len(expected) + 1))
    for hit, key in zip(hits, expected, strict=True):
        places = {name: order.index(key) for name, order in orders.items() if key in order}
        assert dict(hit.parts) == {name: Part(-float(at), at + 1) for name, at in places.items()}
        assert hit.stage == ("rerank" if key in reranked else "convex")
        assert hit.score == hit.parts[hit.stage].score
