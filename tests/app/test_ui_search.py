"""What the search page makes of hits: orders of stages, and the words that count."""

from types import MappingProxyType

from app.ui.search import Searched, by_stage, marked_html
from indexer.document import Chunk
from retriever.hit import Hit, Part


def hit(name: str, **ranks: int) -> Hit:
    parts = {stage: Part(1.0 / rank, rank) for stage, rank in ranks.items()}
    chunk = Chunk(name, name, name, 0, len(name))
    return Hit(chunk, f"/{name}.txt", name, 1.0, 1, "convex", MappingProxyType(parts))


def names(hits: tuple[Hit, ...]) -> list[str]:
    return [each.chunk.id for each in hits]


def test_each_stage_has_its_own_order() -> None:
    hits = (hit("both", bm25=2, dense=1, convex=1), hit("words", bm25=1, convex=2), hit("meaning", dense=2, convex=3))
    orders = by_stage(Searched(("c", "q", ""), hits, (), {}))
    assert {stage: names(found) for stage, found in orders.items()} == {
        "bm25": ["words", "both"],
        "dense": ["both", "meaning"],
        "convex": ["both", "words", "meaning"],
    }


def test_the_reranker_has_a_column_where_there_is_one() -> None:
    one = hit("one", bm25=1, convex=1)
    assert list(by_stage(Searched(("c", "q", ""), (one,), (one,), {}))) == ["bm25", "convex", "rerank"]


def test_marked_text_can_do_nothing() -> None:
    text = "<b>lamp</b>"
    assert marked_html(text, [(3, 7)]) == "&lt;b&gt;<mark>lamp</mark>&lt;/b&gt;"
    assert marked_html(text, [(3, 7)], 4) == "amp&lt;/b&gt;"  # a word that is cut is not marked
