"""Searching for more than the question: what a model wrote beside it."""

from typing import Any

import numpy as np
import pytest
from lighthouse import TEXTS, Fill, keys_of

from indexer.collection import Collection
from retriever.expansion import Expansion, mean_direction
from retriever.fusion import rrf
from retriever.request import SearchRequest
from retriever.search import Retriever


def test_further_questions_are_fused_by_rank_with_the_question(
    collection: Collection, fill: Fill, encoder: Any
) -> None:
    fill(TEXTS)
    retriever, keys = Retriever(collection, encoder), keys_of(collection)
    questions = ["lamp keeper", "cheese butter", "winter ferry"]
    each = [[(keys[hit.chunk.document_id], hit.score) for hit in retriever.search(q, 6)] for q in questions]
    expected = rrf(each, 60)
    hits = retriever.find(SearchRequest(questions[0], 6, expansion=Expansion("multi-query", tuple(questions[1:])))).hits
    assert [(keys[hit.chunk.document_id], hit.score) for hit in hits] == expected
    assert {hit.stage for hit in hits} == {"queries"}
    alone = {hit.chunk.id: hit.parts for hit in retriever.search(questions[0], 6)}
    assert all(hit.parts["bm25"] == alone[hit.chunk.id]["bm25"] for hit in hits if "bm25" in hit.parts)
    decomposed = Expansion("decompose", tuple(questions[1:]))
    assert hits == retriever.find(SearchRequest(questions[0], 6, expansion=decomposed)).hits


def test_a_hypothetical_passage_moves_the_vector_and_not_the_words(
    collection: Collection, fill: Fill, encoder: Any
) -> None:
    fill(TEXTS)
    retriever = Retriever(collection, encoder)
    expansion = Expansion("hyde", ("goat cheese ripens in the cellar",))
    plain, wide = retriever.search("lamp", 6), retriever.find(SearchRequest("lamp", 6, expansion=expansion)).hits
    assert {hit.chunk.id: hit.parts["bm25"] for hit in plain if "bm25" in hit.parts} == {
        hit.chunk.id: hit.parts["bm25"] for hit in wide if "bm25" in hit.parts
    }
    rows = np.vstack([encoder.encode(["lamp"]), encoder.encode(expansion.texts)]).astype(np.float64)
    mean = rows.mean(axis=0) / np.linalg.norm(rows.mean(axis=0))
    for hit in wide:
        passage = encoder.encode([f"{hit.title}\n{hit.chunk.text}"])[0]
        assert hit.parts["dense"].score == pytest.approx(float(passage @ mean), abs=2e-3)  # vectors are stored as fp16
    assert (("lamp",), "find") in encoder.calls  # the question with its instruction, the passage without
    assert (expansion.texts, "") in encoder.calls


def test_an_expansion_that_failed_changes_nothing(collection: Collection, fill: Fill, encoder: Any) -> None:
    fill(TEXTS)
    retriever = Retriever(collection, encoder)
    plain = retriever.search("lamp cheese", 6)
    for kind in ("hyde", "multi-query", "decompose"):
        request = SearchRequest("lamp cheese", 6, expansion=Expansion(kind, failed="no server"))
        assert retriever.find(request).hits == plain


def test_the_mean_of_directions_by_hand() -> None:
    rows = np.array([[1, 0], [0, 1]], np.float32)
    assert mean_direction(rows) == pytest.approx([0.5**0.5, 0.5**0.5])
    assert mean_direction(np.array([[1, 0], [-1, 0]], np.float32)) == pytest.approx([1, 0])
