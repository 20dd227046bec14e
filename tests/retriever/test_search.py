"""The retriever on a real collection: what is found, in which order, and what each stage says about it."""

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from indexer.access import Access
from indexer.chunk import ChunkSettings
from indexer.collection import Collection
from indexer.errors import ConfigError, IndexError_, ModelError
from indexer.reindex import reindex
from retriever.expansion import Expansion, mean_direction
from retriever.fusion import convex, min_max, rrf
from retriever.hit import Hit
from retriever.request import Mode, SearchRequest
from retriever.search import Retriever, RetrieverSettings

Fill = Callable[..., list[str]]
TEXTS = [
    "the lamp of the lighthouse is wound by hand",
    "the keeper winds the lamp every evening",
    "goat cheese ripens in the cellar of the creamery",
    "the ferry sails in winter only when the wind allows",
    "storm signals are shown from the harbour wall",
    "the creamery sells cheese and butter",
]


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


def documents(hits: Sequence[Hit]) -> list[str]:
    return [hit.chunk.document_id for hit in hits]


def keys_of(collection: Collection) -> dict[str, int]:
    keys = [key for key, *_ in collection.texts()]
    return {stored.chunk.document_id: key for key, stored in collection.chunks(keys).items()}


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


# --- reranking


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


# --- expansion


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


def test_what_is_found_for_several_questions_is_reranked_for_the_first(
    collection: Collection, fill: Fill, encoder: Any
) -> None:
    fill(TEXTS)
    reranker = Backwards()
    request = SearchRequest("lamp", 6, rerank=True, expansion=Expansion("decompose", ("cheese butter",)))
    hits = Retriever(collection, encoder, None, reranker).find(request).hits
    assert [query for query, _ in reranker.asked] == ["lamp"]
    assert {hit.stage for hit in hits} == {"rerank"}


def test_the_mean_of_directions_by_hand() -> None:
    rows = np.array([[1, 0], [0, 1]], np.float32)
    assert mean_direction(rows) == pytest.approx([0.5**0.5, 0.5**0.5])
    assert mean_direction(np.array([[1, 0], [-1, 0]], np.float32)) == pytest.approx([1, 0])


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


# --- while a reindex switches


def switch_to(collection: Collection, encoder: Any) -> None:
    """What another process does."""
    reindex(Collection.open(collection.home, collection.name), encoder, ChunkSettings(max_tokens=50))


def test_a_retriever_that_is_open_takes_the_new_encoder(collection: Collection, fill: Fill, encoder: Any) -> None:
    fill(TEXTS)
    other, asked = type(encoder)("words-2"), []

    def renew() -> Any:
        asked.append(collection.generation.number)
        return other

    retriever = Retriever(collection, encoder, renew=renew)
    before = documents(retriever.search("lamp"))
    assert asked == []
    switch_to(collection, other)
    assert documents(retriever.search("lamp")) == before
    assert documents(retriever.search("keeper")) and asked == [2]
    assert other.calls[-1] == (("keeper",), "find")


@pytest.mark.parametrize("mode", ["bm25", "hybrid"])
def test_a_search_is_answered_by_one_generation(
    collection: Collection, fill: Fill, encoder: Any, monkeypatch: pytest.MonkeyPatch, mode: Any
) -> None:
    """The switch comes between ranking and reading: the keys of the ranking mean nothing in the new generation."""
    fill(TEXTS)
    before = documents(Retriever(collection, encoder).search("lamp", mode=mode))
    truth = collection.generation.truth
    read = truth.chunks

    def switch_then_read(keys: list[int]) -> Any:
        switch_to(collection, type(encoder)("words-2"))
        return read(keys)

    monkeypatch.setattr(truth, "chunks", switch_then_read)
    assert documents(Retriever(collection, encoder).search("lamp", mode=mode)) == before
    assert collection.generation.number == 2


def test_a_search_whose_generation_is_taken_away_is_asked_again(
    collection: Collection, fill: Fill, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(TEXTS)
    other = type(encoder)("words-2")

    def switch_then_fail(*_: Any) -> Any:
        switch_to(collection, other)
        raise IndexError_("its files are gone", "")

    monkeypatch.setattr(collection.generation.lexical, "search", switch_then_fail)
    assert documents(Retriever(collection, encoder, renew=lambda: other).search("lamp"))


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
        assert [part.rank for part in hits[0].parts.values()] == [1] * len(hits[0].parts)
    everything = retriever.find(SearchRequest("keeper lamp tower", 10, mode, access=Access(frozenset()))).hits
    assert {hit.chunk.document_id for hit in everything} == {"doc1", "doc2"}
