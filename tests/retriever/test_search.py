"""The retriever on a real collection: what is found, in which order, and what each stage says about it."""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from lighthouse import TEXTS, Fill, documents, keys_of

from indexer.access import Access
from indexer.collection import Collection
from indexer.errors import ConfigError, IndexError_
from retriever.fusion import convex, rrf
from retriever.request import Mode, SearchRequest
from retriever.search import Retriever, RetrieverSettings

# --- each mode


def test_bm25_needs_no_encoder(collection: Collection, fill: Fill) -> None:
    fill(TEXTS)
    hits = Retriever(collection, None).search("cheese", mode="bm25")
    assert set(documents(hits)) == {"doc2", "doc5"}
    assert [hit.rank for hit in hits] == [1, 2]
    assert all(hit.stage == "bm25" and set(hit.parts) == {"bm25"} for hit in hits)
    assert hits[0].score == hits[0].parts["bm25"].score > hits[1].score


def test_a_hit_carries_its_chunk_and_document(collection: Collection, fill: Fill) -> None:
    fill(TEXTS)
    hit = Retriever(collection, None).search("butter", mode="bm25")[0]
    assert (hit.chunk.id, hit.chunk.text) == ("doc5:0", TEXTS[5])
    assert (hit.source, hit.title) == ("/doc5.txt", "Title doc5")


def test_dense_equals_brute_force(collection: Collection, fill: Fill, encoder: Any) -> None:
    draw = random.Random(1)
    words = [f"word{number}" for number in range(60)]
    fill([" ".join(draw.choices(words, k=12)) for _ in range(400)])  # more than are searched without a graph
    assert (collection.generation.folder / "dense" / "base.json").exists()
    keys, vectors = collection.vectors()
    retriever = Retriever(collection, encoder)
    for _ in range(20):
        query = " ".join(draw.choices(words, k=4))
        exact = vectors @ encoder.encode([query])[0]
        best = np.argsort(-exact, kind="stable")[:10]
        expected = {stored.chunk.document_id for stored in collection.chunks(keys[best].tolist()).values()}
        hits = retriever.search(query, 10, "dense")
        assert set(documents(hits)) == expected
        assert [hit.score for hit in hits] == pytest.approx(exact[best], abs=1e-5)
        assert all(hit.stage == "dense" and set(hit.parts) == {"dense"} for hit in hits)


def test_the_query_is_encoded_with_the_instruction_and_passages_without(
    collection: Collection, fill: Fill, encoder: Any
) -> None:
    fill(TEXTS)
    assert all(instruction == "" for _, instruction in encoder.calls)
    Retriever(collection, encoder).search("lamp", mode="dense")
    assert encoder.calls[-1] == (("lamp",), "find")


@pytest.mark.parametrize("fusion", ["convex", "rrf"])
def test_hybrid_is_the_fusion_of_both_with_every_part(
    collection: Collection, fill: Fill, encoder: Any, fusion: str
) -> None:
    fill(TEXTS)
    settings = RetrieverSettings(fusion=fusion, dense_weight=0.3, rrf_k=10, rrf_dense_weight=0.7)  # type: ignore[arg-type]
    hits = Retriever(collection, encoder, settings).search("cheese lamp", 6)
    lexical = collection.lexical.search("cheese lamp", 100)
    dense = collection.dense.search(encoder.encode(["cheese lamp"], "find")[0], 100)
    expected = convex(lexical, dense, 0.3) if fusion == "convex" else rrf([lexical, dense], 10, [0.6, 1.4])
    keys = keys_of(collection)
    assert [keys[id_] for id_ in documents(hits)] == [key for key, _ in expected[:6]]
    assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected[:6]])
    ranks = {"bm25": dict(_ranked(lexical)), "dense": dict(_ranked(dense)), fusion: dict(_ranked(expected))}
    for hit in hits:
        key = keys[hit.chunk.document_id]
        assert hit.stage == fusion
        assert hit.score == hit.parts[fusion].score
        assert {stage: (part.rank, part.score) for stage, part in hit.parts.items()} == {
            stage: by_key[key] for stage, by_key in ranks.items() if key in by_key
        }
    assert {"bm25", "dense", fusion} == set(hits[0].parts)
    assert any("bm25" not in hit.parts for hit in hits)  # four of the six texts hold no word of the question


def _ranked(ranking: Sequence[tuple[int, float]]) -> list[tuple[int, tuple[int, float]]]:
    return [(key, (rank, score)) for rank, (key, score) in enumerate(ranking, start=1)]


def test_both_lexical_engines_agree(collection: Collection, fill: Fill) -> None:
    fill(TEXTS)
    served = Retriever(collection, None).search("cheese of the creamery", mode="bm25")
    package = Retriever(collection, None, RetrieverSettings(lexical_engine="rank-bm25"))
    assert documents(package.search("cheese of the creamery", mode="bm25")) == documents(served)


@pytest.mark.parametrize("engine", ["tantivy", "rank-bm25"])
def test_both_lexical_engines_follow_changes(collection: Collection, fill: Fill, engine: str) -> None:
    fill(TEXTS)
    retriever = Retriever(collection, None, RetrieverSettings(lexical_engine=engine))  # type: ignore[arg-type]
    assert documents(retriever.search("butter", mode="bm25")) == ["doc5"]
    fill(["butter and more butter"], prefix="new")
    assert documents(retriever.search("butter", mode="bm25")) == ["new0", "doc5"]
    with collection.writer() as writer:
        writer.delete("new0")
    assert documents(retriever.search("butter", mode="bm25")) == ["doc5"]


# --- how many


def test_k_cuts_and_ranks_stay_those_of_the_whole(collection: Collection, fill: Fill, encoder: Any) -> None:
    fill(TEXTS)
    retriever = Retriever(collection, encoder)
    assert retriever.search("cheese", 2) == retriever.search("cheese", 6)[:2]


def test_more_than_the_candidates_can_be_asked_for(collection: Collection, fill: Fill, encoder: Any) -> None:
    fill(TEXTS)
    retriever = Retriever(collection, encoder, RetrieverSettings(candidates=1))
    assert len(retriever.search("cheese", 6, "dense")) == 6
    assert len(retriever.search("cheese", 1)) == 1


def test_a_chunk_deleted_between_search_and_reading_leaves_its_place_to_the_next(
    collection: Collection, fill: Fill, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(TEXTS)
    first, second = documents(Retriever(collection, encoder).search("cheese", 2))
    truth = collection.generation.truth
    gone, read = keys_of(collection)[first], truth.chunks
    monkeypatch.setattr(truth, "chunks", lambda keys: {k: v for k, v in read(keys).items() if k != gone})
    hits = Retriever(collection, encoder).search("cheese", 2)
    assert documents(hits)[0] == second
    assert [hit.rank for hit in hits] == [1, 2]


def test_a_deleted_document_never_answers_again(collection: Collection, fill: Fill, encoder: Any) -> None:
    fill(TEXTS)
    retriever = Retriever(collection, encoder)
    other = Collection.open(collection.home, collection.name)  # as another process would
    assert "doc2" in documents(retriever.search("goat cheese", 6))
    with other.writer() as writer:
        writer.delete("doc2")
    for mode in ("bm25", "dense", "hybrid"):
        assert "doc2" not in documents(retriever.search("goat cheese", 6, mode))  # type: ignore[arg-type]


def test_an_empty_collection_finds_nothing(collection: Collection, encoder: Any) -> None:
    for mode in ("bm25", "dense", "hybrid"):
        assert Retriever(collection, encoder).search("lamp", mode=mode) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize("query", ["?!", "the of and", "灯台", "lamp\x00", "a \ud800 lamp", '"lamp AND (', "x" * 8000])
def test_odd_questions_are_searched(collection: Collection, fill: Fill, encoder: Any, query: str) -> None:
    fill(TEXTS)
    assert len(Retriever(collection, encoder).search(query, 6)) == 6


# --- timings


@pytest.mark.parametrize(
    ("mode", "stages"),
    [
        ("bm25", ["bm25", "fetch"]),
        ("dense", ["encode", "dense", "fetch"]),
        ("hybrid", ["encode", "bm25", "dense", "fuse", "fetch"]),
    ],
)
def test_every_stage_that_ran_is_timed(
    collection: Collection, fill: Fill, encoder: Any, mode: Any, stages: list[str]
) -> None:
    fill(TEXTS)
    timings = Retriever(collection, encoder).find(SearchRequest("lamp", mode=mode)).timings_ms
    assert list(timings) == stages
    assert all(milliseconds > 0 for milliseconds in timings.values())


# --- refusals


@pytest.mark.parametrize("query", ["", " \n\t"])
def test_an_empty_question_is_refused(collection: Collection, query: str) -> None:
    with pytest.raises(ConfigError, match="question is empty"):
        Retriever(collection, None).search(query, mode="bm25")


def test_a_question_beyond_the_limit_is_refused_by_name(collection: Collection) -> None:
    with pytest.raises(ConfigError, match="50,000 characters, the limit is 8,000") as error:
        Retriever(collection, None).search("x" * 50_000, mode="bm25")
    assert "retriever.max_query_chars" in error.value.remedy
    Retriever(collection, None, RetrieverSettings(max_query_chars=50_000)).search("x" * 50_000, mode="bm25")


def test_an_unknown_mode_is_refused(collection: Collection) -> None:
    with pytest.raises(ConfigError, match='"sparse" is not a search mode') as error:
        Retriever(collection, None).search("lamp", mode="sparse")  # type: ignore[arg-type]
    assert "bm25, dense, hybrid" in error.value.remedy


def test_no_results_cannot_be_asked_for(collection: Collection) -> None:
    with pytest.raises(ConfigError, match="0 results"):
        Retriever(collection, None).search("lamp", 0, "bm25")


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_dense_search_without_an_encoder_is_refused(collection: Collection, mode: Any) -> None:
    with pytest.raises(ConfigError, match="needs an encoder"):
        Retriever(collection, None).search("lamp", mode=mode)


def test_reranking_without_a_reranker_names_the_setting(collection: Collection) -> None:
    with pytest.raises(ConfigError, match="no reranker") as error:
        Retriever(collection, None).search("lamp", mode="bm25", rerank=True)
    assert "retriever.reranker" in error.value.remedy


def test_another_encoder_is_refused_with_the_command_but_bm25_still_answers(
    collection: Collection, fill: Fill, encoder: Any
) -> None:
    fill(TEXTS)
    retriever = Retriever(collection, type(encoder)("words-2"))
    with pytest.raises(IndexError_, match="another encoder") as error:
        retriever.search("lamp")
    assert "footnote reindex" in error.value.remedy
    assert len(retriever.search("lamp", mode="bm25")) == 2


# --- together


def test_threads_share_one_retriever(collection: Collection, fill: Fill, encoder: Any) -> None:
    fill(TEXTS)
    questions = ["cheese", "lamp", "ferry winter", "storm", "keeper", "butter"] * 5
    retriever = Retriever(collection, encoder)
    alone = [retriever.search(question) for question in questions]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(retriever.search, questions)) == alone


# --- what the caller may not read


@pytest.mark.parametrize("engine", ["tantivy", "rank-bm25"])
@pytest.mark.parametrize("mode", ["bm25", "dense", "hybrid"])
def test_no_mode_finds_or_ranks_what_the_caller_may_not_read(
    collection: Collection, fill: Fill, encoder: Any, mode: Mode, engine: Any
) -> None:
    fill(["keeper lamp tower", "keeper lamp", "keeper of bees"])
    retriever = Retriever(collection, encoder, RetrieverSettings(lexical_engine=engine))
    with collection.writer() as writer:
        writer.restrict(["legal"], "/doc0.txt")
    for access, expected in ((Access(frozenset()), {"doc1", "doc2"}), (Access(frozenset({"legal"})), {"doc0"})):
        hits = retriever.find(SearchRequest("keeper lamp tower", 1, mode, access=access)).hits
        assert {hit.chunk.document_id for hit in hits} <= expected
        ranks = [part.rank for part in hits[0].parts.values()]
        if engine == "tantivy":
            assert ranks == [1] * len(ranks)
        else:  # the package weighs words of most texts below zero; what may not be read has no rank all the same
            assert max(ranks) <= (2 if expected == {"doc1", "doc2"} else 3)
    everything = retriever.find(SearchRequest("keeper lamp tower", 10, mode, access=Access(frozenset()))).hits
    assert {hit.chunk.document_id for hit in everything} == {"doc1", "doc2"}
