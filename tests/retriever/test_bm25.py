"""tantivy's BM25, as the collection serves it, against the rank-bm25 package on the same terms."""

import math
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from indexer.collection import Collection
from indexer.store.text import analyze, embed_text, query_terms
from retriever.bm25 import RankBM25

Fill = Callable[..., list[str]]
WORDS = ["lamp", "keeper", "storms", "ferry", "goats", "cheese", "tides", "rocks", "signal", "engine", "oil", "winter"]
STOPWORDS = ["the", "of", "what", "is"]
TOLERANCE = 2e-6  # tantivy adds in single precision


def oracle(collection: Collection) -> RankBM25:
    passages = ((key, embed_text(title, path, text)) for key, title, path, text in collection.texts())
    return RankBM25(passages, weights="lucene")


def random_texts(seed: int, count: int) -> list[str]:
    """Texts of up to 37 terms: with the title, fewer than 40, which tantivy stores without rounding the length."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS + STOPWORDS, k=draw.randint(1, 37))) for _ in range(count)]


def assert_same(served: list[tuple[int, float]], expected: list[tuple[int, float]]) -> None:
    assert {key for key, _ in served} == {key for key, _ in expected}
    scores = dict(expected)
    for key, score in served:
        assert score == pytest.approx(scores[key], rel=TOLERANCE)
    for (_, here), (key, _) in zip(expected, served, strict=True):  # the same order, but for what rounding ties
        assert scores[key] == pytest.approx(here, rel=TOLERANCE)


@pytest.mark.parametrize("seed", range(5))
def test_tantivy_scores_as_rank_bm25(collection: Collection, fill: Fill, seed: int) -> None:
    fill(random_texts(seed, 60))
    expected, draw = oracle(collection), random.Random(seed + 100)
    for _ in range(40):
        query = " ".join(draw.choices(WORDS + STOPWORDS + ["unheard"], k=draw.randint(1, 6)))
        assert_same(collection.lexical.search(query, 100), expected.search(query, 100))


def test_a_word_asked_twice_counts_twice(collection: Collection, fill: Fill) -> None:
    fill(["lamp ferry", "ferry goats", "lamp lamp"])
    expected = oracle(collection)
    assert_same(collection.lexical.search("lamp lamp ferry", 10), expected.search("lamp lamp ferry", 10))
    once, twice = expected.search("lamp", 1)[0][1], expected.search("lamp lamp", 1)[0][1]
    assert twice == pytest.approx(2 * once)


def test_longer_texts_differ_only_by_the_rounding_of_their_length(collection: Collection, fill: Fill) -> None:
    draw = random.Random(9)
    fill([" ".join(draw.choices(WORDS, k=draw.randint(100, 400))) for _ in range(30)])
    served, expected = collection.lexical.search("lamp ferry", 30), dict(oracle(collection).search("lamp ferry", 30))
    assert {key for key, _ in served} == set(expected)
    assert all(score == pytest.approx(expected[key], rel=0.06) for key, score in served)


def test_lucene_bm25_by_hand() -> None:
    # 3 texts of 2, 1 and 3 terms, mean 2; "lamp" is in 2 of 3 texts, "tide" in 1
    engine = RankBM25([(1, "lamp tide"), (2, "lamp"), (3, "goat goat rock")], weights="lucene")
    idf_lamp, idf_tide = math.log(1 + 1.5 / 2.5), math.log(1 + 2.5 / 1.5)

    def weight(frequency: int, length: int) -> float:
        return frequency * 2.2 / (frequency + 1.2 * (1 - 0.75 + 0.75 * length / 2))

    assert engine.search("lamp tides", 10) == [
        (1, pytest.approx((idf_lamp + idf_tide) * weight(1, 2))),
        (2, pytest.approx(idf_lamp * weight(1, 1))),
    ]


def test_a_word_in_every_text_still_finds() -> None:
    found = RankBM25([(1, "lamp"), (2, "lamp lamp lamp"), (3, "lamp rock")], weights="lucene").search("lamp", 10)
    assert [key for key, _ in found] == [2, 1, 3]
    assert all(score > 0 for _, score in found)


@pytest.mark.parametrize("seed", range(3))
def test_the_engine_scores_as_the_package_as_it_comes(seed: int) -> None:
    texts, draw = random_texts(seed, 40), random.Random(seed)
    engine, package = RankBM25(enumerate(texts)), BM25Okapi([analyze(text) for text in texts])
    for _ in range(20):
        query = " ".join(draw.choices(WORDS, k=draw.randint(1, 4)))
        scores, terms = package.get_scores(query_terms(query)), set(query_terms(query))
        holding = {at: scores[at] for at, text in enumerate(texts) if terms & set(analyze(text))}
        assert dict(engine.search(query, 100)) == pytest.approx(holding, rel=1e-12)


def test_the_package_finds_what_its_weights_put_below_zero() -> None:
    found = RankBM25([(1, "lamp"), (2, "lamp lamp lamp"), (3, "lamp rock")]).search("lamp", 10)
    assert sorted(key for key, _ in found) == [1, 2, 3]
    assert all(score < 0 for _, score in found)


def test_one_character_is_found_inside_pairs() -> None:
    engine = RankBM25([(1, "白い猫が好き"), (2, "大阪の店"), (3, "lamp")])
    assert [key for key, _ in engine.search("猫", 5)] == [1]
    assert sorted(key for key, _ in engine.search("猫 lamp", 5)) == [1, 3]


def test_ties_are_ordered_by_key_and_cut_there() -> None:
    engine = RankBM25([(9, "lamp"), (4, "lamp"), (7, "lamp"), (1, "rock")])
    assert [key for key, _ in engine.search("lamp", 2)] == [4, 7]


@pytest.mark.parametrize("texts", [[], [(1, "")], [(1, "...")]])
def test_nothing_to_find_in(texts: list[tuple[int, str]]) -> None:
    assert RankBM25(texts).search("lamp", 5) == []


def test_nothing_to_ask_for() -> None:
    assert RankBM25([(1, "lamp")]).search("?!", 5) == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text(max_size=30), max_size=8), st.text(max_size=20))
def test_any_texts_give_finite_ordered_scores(texts: list[str], query: str) -> None:
    found = RankBM25(enumerate(texts)).search(query, 5)
    assert all(math.isfinite(score) for _, score in found)
    assert found == sorted(found, key=lambda hit: (-hit[1], hit[0]))


def test_importing_the_retriever_loads_no_engine() -> None:
    code = "import sys, retriever.search; sys.exit(any(m in sys.modules for m in ('rank_bm25', 'torch', 'faiss')))"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
