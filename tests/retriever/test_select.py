"""Context selection on spans small enough to check by eye."""

from collections.abc import Sequence

from indexer.document import Chunk
from retriever.hit import Hit
from retriever.select import drop_repeats

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
