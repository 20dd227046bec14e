"""Words of many languages: what an analyzer makes of them, and what a collection then finds."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.collection import Collection
from indexer.store.language import LANGUAGES, Language, is_single, prepared
from indexer.store.lexical import Required
from indexer.store.text import analyze, query_terms
from indexer.verify import verify

TEXTS = {
    "german": "Die Versicherungen zahlen für beschädigte Häuser an der Küste nicht.",
    "english": "The insurers pay nothing for damaged houses on the coast.",
    "chinese": "东京大学的图书馆收藏了许多古代地图。冬天开放到晚上九点。",
    "japanese": "図書館は月曜日に休館します。コンピューターは二階で使えます。",
    "korean": "서울의 도서관은 월요일에 문을 닫습니다.",
    "thai": "ห้องสมุดปิดวันจันทร์และเปิดวันอังคาร",
    "arabic": "تُغلَق المكتبات يوم الاثنين وتفتح أبوابها مساء الثلاثاء.",
    "russian": "Библиотеки закрыты по понедельникам, музеи открыты.",
}


def test_what_is_pairs_and_what_stays_by_hand() -> None:
    assert prepared("Tokyo 東京都 1999").split() == ["Tokyo", "東京", "京都", "1999"]
    assert prepared("水") == " 水 "
    assert prepared("ｶﾒﾗ \uff21\uff22\uff23").split() == ["カメ", "メラ", "ABC"]  # half and full width
    assert prepared("كِتَـاب أحمد") == "كتاب احمد"
    assert prepared("naïve “Straße” x²") == "naïve “Straße” x²"
    assert is_single("水")
    assert not is_single("a")
    assert not is_single("水中")


@pytest.mark.parametrize(
    ("language", "text", "terms"),
    [
        ("german", "Häuser Hauses Straßen", ["haus", "haus", "strass"]),
        ("french", "généralement général", ["general", "general"]),
        ("arabic", "المكتبات مكتبة", ["مكتب", "مكتب"]),
        ("none", "Häuser Running", ["hauser", "running"]),
        ("english", "Häuser running", ["hauser", "run"]),
    ],
)
def test_stems_by_language(language: Language, text: str, terms: list[str]) -> None:
    assert analyze(text, language) == terms


def test_stopwords_are_those_of_the_language() -> None:
    assert query_terms("Was zahlen die Versicherungen?", "german") == ["zahl", "versicher"]
    assert query_terms("Was zahlen die Versicherungen?", "none") == ["was", "zahlen", "die", "versicherungen"]
    assert query_terms("die", "german") == ["die"]  # nothing but stopwords: all stay


@given(st.text(), st.sampled_from(LANGUAGES))
def test_any_text_is_analyzed_in_any_language(text: str, language: Language) -> None:
    terms = analyze(text, language)
    assert all(query_terms(text, language)) or not terms


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("東京大学", "chinese"),  # written as in Japanese: two of its pairs are the same
        ("图书馆几点关门", "chinese"),
        ("古代地图", "chinese"),
        ("図書館の休館日", "japanese"),
        ("コンピューター", "japanese"),
        ("ｺﾝﾋﾟｭｰﾀｰ", "japanese"),
        ("도서관", "korean"),  # with another particle in the text
        ("ห้องสมุด", "thai"),
        ("المكتبات", "arabic"),
        ("أبوابها", "arabic"),
        ("ابوابها", "arabic"),  # as it is typed
        ("冬", "chinese"),  # one character alone
        ("damaged house", "english"),
    ],
)
def test_scripts_are_found_in_a_collection_of_any_language(shelf: Any, query: str, found: str) -> None:
    shelf.add(**TEXTS)
    assert shelf.lexical(query)[0] == found


def test_one_character_is_found_only_where_it_stands(shelf: Any) -> None:
    shelf.add(**TEXTS)
    assert shelf.lexical("冬") == ["chinese"]
    assert sorted(shelf.lexical("館")) == ["japanese"]
    assert shelf.lexical("犬") == []
    assert sorted(shelf.lexical("犬 冬")) == ["chinese"]
    assert sorted(shelf.lexical("冬 damaged 大阪")) == ["chinese", "english"]
    assert sorted(shelf.lexical("館 大学")) == ["chinese", "japanese"]


@pytest.mark.parametrize(
    ("language", "query", "found"),
    [
        ("german", "Haus", "german"),
        ("german", "zahlt welche Versicherung?", "german"),
        ("arabic", "مكتبة", "arabic"),
        ("russian", "библиотека", "russian"),
        ("russian", "музей", "russian"),
    ],
)
def test_word_forms_need_their_language(shelf: Any, language: Language, query: str, found: str) -> None:
    shelf.add(**TEXTS)
    assert found not in shelf.lexical(query)
    shelf.collection.speak(language)
    assert shelf.lexical(query)[0] == found


def applied(shelf: Any) -> dict[str, Any]:
    return dict(json.loads((shelf.collection.generation.folder / "lexical" / "applied.json").read_text()))


def test_another_language_builds_the_index_of_words_anew(shelf: Any) -> None:
    shelf.add(**TEXTS)
    before, vectors = applied(shelf), shelf.collection.vectors()
    other = Collection.open(shelf.collection.home, shelf.collection.name)  # as another process
    assert not other.lexical.search("Haus", 5)
    shelf.collection.speak("german")
    after = applied(shelf)
    assert (after["language"], after["build"] != before["build"]) == ("german", True)
    assert len(other.lexical.search("Haus", 5)) == 1
    assert (shelf.collection.vectors()[1] == vectors[1]).all()
    shelf.add(late="Ein Haus am See")
    assert set(shelf.lexical("Häuser")) == {"german", "late"}
    assert verify(shelf.collection) == []


def test_a_killed_change_of_language_is_finished_by_the_next_search(shelf: Any) -> None:
    from indexer.store.changes import write_language

    shelf.add(**TEXTS)
    with shelf.collection.generation.truth.writing() as db:
        write_language(db, "german")  # and killed before the index followed
    assert shelf.lexical("Haus") == ["german"]
    assert applied(shelf)["language"] == "german"


def test_a_new_collection_has_the_language_it_is_made_with(tmp_path: Any) -> None:
    assert Collection.open(tmp_path, "a", create=True, language="german").generation.truth.language() == "german"
    assert Collection.open(tmp_path, "a", create=True, language="french").generation.truth.language() == "german"
    assert Collection.open(tmp_path, "b", create=True).generation.truth.language() == "english"


def keys_to_names(shelf: Any, required: list[Required]) -> list[str] | None:
    ranges = shelf.collection.lexical.holding(required)
    if ranges is None:
        return None
    keys = [key for first, last in ranges for key in range(first, last + 1)]
    return sorted(shelf.names([(key, 0.0) for key in keys]))


def test_a_phrase_is_words_in_order_next_to_each_other(shelf: Any) -> None:
    shelf.add(
        one="goat cheese ripens in the cellar",
        two="cheese of a goat",
        three="the goats' cheeses",
        four="goat and cheese",
    )
    assert keys_to_names(shelf, [Required("text", "goat cheese")]) == ["one", "three"]  # word forms count as the same
    assert keys_to_names(shelf, [Required("text", "ripens in the cellar")]) == ["one"]  # stopwords too
    assert keys_to_names(shelf, [Required("text", "goat cheese"), Required("text", "cellar")]) == ["one"]
    assert keys_to_names(shelf, [Required("text", "cellar goat")]) == []
    assert keys_to_names(shelf, [Required("text", "?!")]) is None
    shelf.delete("one")
    assert keys_to_names(shelf, [Required("text", "goat cheese")]) == ["three"]


def test_a_phrase_in_pairs_of_characters(shelf: Any) -> None:
    shelf.add(one="东京大学的图书馆", two="大学在东京", three="图书馆")
    assert keys_to_names(shelf, [Required("text", "东京大学")]) == ["one"]
    assert keys_to_names(shelf, [Required("text", "图书馆")]) == ["one", "three"]
    assert keys_to_names(shelf, [Required("text", "学")]) == ["one", "two"]


def test_fields_hold_only_their_own_words(shelf: Any) -> None:
    shelf.add(plain="cheese and butter")
    document, chunks = shelf.document("named", "It opens at nine.", title="Cheese of Northgate")
    with shelf.collection.writer() as writer:
        writer.add(document, chunks, shelf.encoder.encode(["x"]))
    assert keys_to_names(shelf, [Required("title", "cheese")]) == ["named"]
    assert keys_to_names(shelf, [Required("title", "northgate cheese")]) == []
    assert keys_to_names(shelf, [Required("text", "northgate it opens")]) == []  # the end of the title, and the text
    assert keys_to_names(shelf, [Required("heading", "cheese")]) == []
    assert keys_to_names(shelf, [Required("text", "cheese")]) == ["named", "plain"]
