"""Joined chunks are exact slices of their document again."""

import random
from itertools import pairwise

import pytest

from indexer.document import Chunk
from retriever.hit import Hit
from retriever.join import join_touching

TEXT = "One two three.\n\nFour five.  Six seven eight nine."
TEXTS = {"d": TEXT}


def hit(start: int, end: int, ordinal: int, *, document: str = "d", path: tuple[str, ...] = ("A", "B")) -> Hit:
    chunk = Chunk(f"{document}:{ordinal}", document, TEXT[start:end], start, end, path, page=ordinal + 1)
    return Hit(chunk, "source", "title", score=1.0, rank=1, stage="bm25")


def spans(hits: tuple[Hit, ...]) -> list[tuple[str, int, int]]:
    return [(item.chunk.id, item.chunk.start, item.chunk.end) for item in hits]


def test_chunks_with_only_space_between_them_become_one() -> None:
    (one,) = join_touching([hit(16, 26, 1), hit(0, 14, 0)], TEXTS)
    assert (one.chunk.id, one.chunk.text, one.chunk.page) == ("d:0-1", "One two three.\n\nFour five.", 1)


def test_the_joined_stands_where_its_best_part_stood() -> None:
    other = hit(0, 14, 7, document="e")
    found = [hit(28, 49, 2), other, hit(16, 26, 1)]
    assert spans(join_touching(found, TEXTS)) == [("d:1-2", 16, 49), ("e:7", 0, 14)]


def test_words_between_two_chunks_keep_them_apart() -> None:
    found = [hit(0, 7, 0), hit(8, 14, 1)]  # nothing but a space; then "two" between
    assert len(join_touching(found, TEXTS)) == 1
    apart = [hit(0, 3, 0), hit(8, 14, 1)]
    assert join_touching(apart, TEXTS) == tuple(apart)


def test_overlapping_chunks_and_one_inside_another_are_joined() -> None:
    assert spans(join_touching([hit(0, 14, 0), hit(8, 26, 1)], TEXTS)) == [("d:0-1", 0, 26)]
    assert spans(join_touching([hit(0, 26, 0), hit(4, 7, 1)], TEXTS)) == [("d:0", 0, 26)]


def test_a_joined_chunk_can_be_joined_again() -> None:
    (joined,) = join_touching([hit(0, 14, 0), hit(16, 26, 1)], TEXTS)
    assert spans(join_touching([joined, hit(28, 49, 2)], TEXTS)) == [("d:0-2", 0, 49)]


def test_headings_are_those_above_all_parts() -> None:
    (one,) = join_touching([hit(0, 14, 0, path=("A", "B")), hit(16, 26, 1, path=("A", "C"))], TEXTS)
    assert one.chunk.heading_path == ("A",)


@pytest.mark.parametrize("texts", [{}, {"d": "One two three. Now other words stand here, and more of them."}])
def test_a_document_that_is_gone_or_changed_joins_nothing(texts: dict[str, str]) -> None:
    found = [hit(0, 14, 0), hit(16, 26, 1)]
    assert spans(join_touching(found, texts)) == [("d:0", 0, 14), ("d:1", 16, 26)]


def test_any_joined_chunk_is_a_slice_and_no_word_is_lost() -> None:
    random.seed(5)
    for _ in range(200):
        cuts = sorted(random.sample(range(len(TEXT)), 6))
        pieces = [hit(start, end, n) for n, (start, end) in enumerate(pairwise(cuts))]
        found = random.sample(pieces, 3)
        joined = join_touching(found, TEXTS)
        assert all(TEXT[item.chunk.start : item.chunk.end] == item.chunk.text for item in joined)
        held = {at for item in joined for at in range(item.chunk.start, item.chunk.end)}
        wanted = {at for item in found for at in range(item.chunk.start, item.chunk.end)}
        assert wanted <= held
        assert not "".join(TEXT[at] for at in held - wanted).strip()
