"""Context selection on spans small enough to check by eye."""

from collections.abc import Sequence

from indexer.document import Chunk
from retriever.hit import Hit
from retriever.select import (
    LeftOut,
    SelectionSettings,
    arrange,
    diversify,
    drop_near_duplicates,
    drop_repeats,
    limit_per_document,
    select,
)

TEXT = "abcdefghij" * 10


def hit(rank: int, start: int, end: int, document: str = "d1", text: str | None = None) -> Hit:
    words = f"{document} {start} {TEXT[start:end]}" if text is None else text
    chunk = Chunk(f"{document}:{start}", document, words, start, end)
    return Hit(chunk, "source", "title", score=1 / rank, rank=rank, stage="bm25")


def spans(hits: Sequence[Hit]) -> list[tuple[int, int]]:
    return [(item.chunk.start, item.chunk.end) for item in hits]


def test_a_half_covered_chunk_is_dropped_and_a_lightly_overlapping_one_stays() -> None:
    found = [hit(1, 0, 20), hit(2, 10, 30), hit(3, 15, 40)]  # 10 of 20 covered; then 5 of 25
    assert spans(drop_repeats(found)) == [(0, 20), (15, 40)]


def test_two_neighbours_together_cover_the_chunk_between_them() -> None:
    found = [hit(1, 0, 20), hit(2, 30, 50), hit(3, 14, 36)]  # 6 + 6 of 22 covered: more than half
    assert spans(drop_repeats(found)) == [(0, 20), (30, 50)]


def test_overlapping_spans_are_not_counted_twice() -> None:
    found = [hit(1, 0, 20), hit(2, 12, 30), hit(3, 17, 50)]  # the union covers 17..30: 13 of 33
    assert spans(drop_repeats(found)) == [(0, 20), (12, 30), (17, 50)]


def test_the_same_span_of_another_document_stays() -> None:
    found = [hit(1, 0, 20), hit(2, 0, 20, document="d2")]
    assert len(drop_repeats(found)) == 2


def test_the_same_words_in_another_document_are_dropped() -> None:
    found = [hit(1, 0, 20, text="One  sentence."), hit(2, 5, 9, "d2", text="one sentence.\n")]
    assert drop_repeats(found) == (found[0],)


def said(text: str, score: float, document: str = "d1", start: int = 0, stage: str = "convex") -> Hit:
    chunk = Chunk(f"{document}:{start}", document, text, start, start + len(text))
    return Hit(chunk, "source", "title", score, rank=1, stage=stage)


def test_a_near_duplicate_is_one_from_the_threshold_on() -> None:
    best, near = said("a b c d e f", 2), said("a b c d e g", 1, "d2")  # 2 of 4 runs of four words are common
    assert drop_near_duplicates([best, near], 0.5) == (best,)
    assert drop_near_duplicates([best, near], 0.51) == (best, near)
    assert drop_near_duplicates([best, best], 1) == (best, best)  # off
    wordless = [said("--", 2), said("++", 1)]
    assert drop_near_duplicates(wordless, 0.5) == tuple(wordless)


def test_a_document_gives_its_best_chunks() -> None:
    one, two, three, other = said("a", 4, start=9), said("b", 3, start=1), said("c", 2), said("d", 1, "d2")
    assert limit_per_document([one, two, three, other], 2) == (one, two, other)
    assert limit_per_document([one, two, three, other], 0) == (one, two, three, other)


def test_mmr_takes_the_unlike_passage_before_the_like_one() -> None:
    # Relevance 1, .75 and 0; "red green" is like "red pump" by .5, "blue" by 0. With a weight of .5 the second choice
    # is between .5 * .75 - .5 * .5 = .125 and .5 * 0 - .5 * 0 = 0; with .8 between .15 - .4 = -.25 and 0.
    found = [said("red pump", 5), said("red green", 4), said("blue", 1)]
    assert [hit.chunk.text for hit in diversify(found, 2, 0.5)] == ["red pump", "red green"]
    assert [hit.chunk.text for hit in diversify(found, 3, 0.8)] == ["red pump", "blue", "red green"]
    assert diversify(found, 2, 0) == tuple(found[:2])
    assert diversify([], 2, 0.5) == ()


def test_mmr_puts_what_the_reranker_did_not_read_below() -> None:
    found = [said("red", -3, stage="rerank"), said("green", -7, stage="rerank"), said("blue", 0.9)]
    assert [hit.chunk.text for hit in diversify(found, 3, 0.1)] == ["red", "green", "blue"]


def test_the_best_stand_at_both_ends() -> None:
    found = [said(text, 1) for text in "12345"]
    assert "".join(hit.chunk.text for hit in arrange(found, "best-at-ends")) == "13542"
    assert "".join(hit.chunk.text for hit in arrange(found[:4], "best-at-ends")) == "1342"
    assert arrange(found, "best-first") == tuple(found)
    assert arrange([], "best-at-ends") == ()


def test_what_is_left_out_has_the_step_that_did_it() -> None:
    best, repeat, near = said("a b c d e f", 9), said("A b c d e f", 8, "d2"), said("a b c d e g", 7, "d3")
    second, third, last = said("other words", 6, "d1", 90), said("more", 5, "d1", 200), said("unlike", 4, "d5")
    settings = SelectionSettings(near_duplicate=0.5, per_document=2)
    chosen = select([best, repeat, near, second, third, last], 2, settings)
    assert chosen.hits == (best, second)
    assert chosen.left_out == (
        LeftOut(repeat, "repeat"),
        LeftOut(near, "near-duplicate"),
        LeftOut(third, "document"),
        LeftOut(last, "rank"),
    )
    as_it_comes = select([best, repeat, near, second], 3, SelectionSettings())
    assert as_it_comes.hits == (best, near, second)
    assert as_it_comes.left_out == (LeftOut(repeat, "repeat"),)
