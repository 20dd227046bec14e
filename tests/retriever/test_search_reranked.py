"""The reranker on a real collection: what it reads, and what becomes of the order."""

from collections.abc import Sequence
from typing import Any

import pytest
from lighthouse import TEXTS, Fill, documents

from indexer.collection import Collection
from indexer.errors import ModelError
from retriever.expansion import Expansion
from retriever.fusion import min_max
from retriever.request import SearchRequest
from retriever.search import Retriever, RetrieverSettings


class Backwards:
    """Prefers the passages that came last."""

    name = "backwards"

    def __init__(self, fails: bool = False) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.fails = fails

    def score(self, query: str, passages: Sequence[str]) -> list[float]:
        self.asked.append((query, tuple(passages)))
        if self.fails:
            raise ModelError("The server is gone.", "Start it.")
        return [float(number) for number in range(len(passages))]


def test_the_reranker_decides_among_what_it_reads_and_the_rest_follows(
    collection: Collection, fill: Fill, encoder: Any
) -> None:
    fill(TEXTS)
    reranker = Backwards()
    retriever = Retriever(collection, encoder, RetrieverSettings(rerank_candidates=3), reranker)
    before = retriever.search("cheese lamp", 5)
    after = retriever.search("cheese lamp", 5, rerank=True)
    assert documents(after) == documents([before[2], before[1], before[0], before[3], before[4]])
    assert [hit.rank for hit in after] == [1, 2, 3, 4, 5]
    assert [hit.stage for hit in after] == ["rerank"] * 3 + ["convex"] * 2
    assert after[0].parts["rerank"].score == after[0].score == 2.0
    assert after[0].parts["convex"] == before[2].parts["convex"]
    assert "rerank" not in after[3].parts


def test_the_reranker_reads_title_and_text_and_more_than_k(collection: Collection, fill: Fill, encoder: Any) -> None:
    fill(TEXTS)
    reranker = Backwards()
    hits = Retriever(collection, encoder, None, reranker).search("cheese", 1, rerank=True)
    (query, passages) = reranker.asked[0]
    assert query == "cheese"
    assert sorted(passages) == sorted(f"Title doc{number}\n{text}" for number, text in enumerate(TEXTS))
    assert len(hits) == 1


def test_reranking_nothing(collection: Collection) -> None:
    assert Retriever(collection, None, None, Backwards()).search("lamp", mode="bm25", rerank=True) == ()


def test_a_weight_blends_the_reranker_with_what_was_before(collection: Collection, fill: Fill, encoder: Any) -> None:
    fill(TEXTS)
    before = Retriever(collection, encoder).search("cheese lamp", 6)
    settings = RetrieverSettings(rerank_candidates=3, rerank_weight=0.3)
    after = Retriever(collection, encoder, settings, Backwards()).search("cheese lamp", 6, rerank=True)
    first = min_max([(place, hit.score) for place, hit in enumerate(before[:3])])
    expected = {place: 0.7 * first[place] + 0.3 * place / 2 for place in range(3)}  # backwards: 0, 1, 2
    order = sorted(expected, key=lambda place: -expected[place])
    assert documents(after) == documents([*(before[place] for place in order), *before[3:]])
    assert [hit.score for hit in after[:3]] == pytest.approx([expected[place] for place in order])
    assert [hit.stage for hit in after] == ["blend"] * 3 + ["convex"] * 3
    assert {"rerank", "blend", "convex"} <= set(after[0].parts)


def test_without_weight_the_order_before_stands(collection: Collection, fill: Fill, encoder: Any) -> None:
    fill(TEXTS)
    before = Retriever(collection, encoder).search("cheese lamp", 6)
    settings = RetrieverSettings(rerank_weight=0.0)
    after = Retriever(collection, encoder, settings, Backwards()).search("cheese lamp", 6, rerank=True)
    assert documents(after) == documents(before)


@pytest.mark.parametrize("fails", [True, False])
def test_a_reranker_that_fails_or_has_no_time_leaves_the_whole_order_and_says_so(
    collection: Collection, fill: Fill, encoder: Any, fails: bool
) -> None:
    fill(TEXTS)
    before = Retriever(collection, encoder).search("cheese lamp", 3)
    # A budget that any clock breaks after the first batch of one.
    settings = RetrieverSettings(rerank_batch=1, rerank_budget_ms=0 if fails else 1e-9)
    reranker = Backwards(fails)
    after = Retriever(collection, encoder, settings, reranker).find(SearchRequest("cheese lamp", 3, rerank=True))
    assert after.hits == before
    why = "The server is gone." if fails else "6 passages take longer than 1e-09 ms."
    assert after.notes == (f"Not reranked: {why}",)
    assert len(reranker.asked) == 1


def test_what_is_found_for_several_questions_is_reranked_for_the_first(
    collection: Collection, fill: Fill, encoder: Any
) -> None:
    fill(TEXTS)
    reranker = Backwards()
    request = SearchRequest("lamp", 6, rerank=True, expansion=Expansion("decompose", ("cheese butter",)))
    hits = Retriever(collection, encoder, None, reranker).find(request).hits
    assert [query for query, _ in reranker.asked] == ["lamp"]
    assert {hit.stage for hit in hits} == {"rerank"}
