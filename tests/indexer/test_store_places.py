"""What is marked is what is counted: terms of real analyzers, found in the text as it was written."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.store.language import LANGUAGES, Language, prepared
from indexer.store.places import located_terms, places
from indexer.store.text import analyze
from tests.indexer.test_store_language import TEXTS

MORE = ("ｶﾞﾊﾟﾡￂ\uff21\uff22\uff0cﷺﹰﻷ", "கட்டிடம் விளக்கு", "ไฟ้เ็")
SCRIPTS = st.text(
    st.one_of(
        st.sampled_from(" _.'\n"),
        st.characters(codec="utf-8"),
        *(st.sampled_from(sorted(set(text))) for text in (*TEXTS.values(), *MORE)),
    ),
    max_size=40,
)


@pytest.mark.parametrize(
    ("language", "text", "query", "expected"),
    [
        ("english", "The keepers wind the lamps.", "Who is the keeper of a lamp?", ["keepers", "lamps"]),
        ("german", TEXTS["german"], "Was zahlen Versicherungen für ein Haus?", ["Versicherungen", "zahlen", "Häuser"]),
        ("english", "Häuser, Haus", "haus", ["Haus"]),
        ("russian", TEXTS["russian"], "музей и библиотека", ["Библиотеки", "музеи"]),
        ("arabic", TEXTS["arabic"], "متى تغلق المكتبة يوم الاثنين؟", ["تُغلَق", "المكتبات", "يوم", "الاثنين"]),
        ("english", TEXTS["arabic"], "تغلق المكتبات", ["تُغلَق", "المكتبات"]),
        ("english", TEXTS["chinese"], "图书馆的地图", ["图书馆", "地图"]),
        ("english", TEXTS["japanese"], "図書館のコンピューター", ["図書館", "コンピューター"]),
        ("english", TEXTS["korean"], "도서관", ["도서관"]),
        ("english", TEXTS["thai"], "วันจันทร์", ["วันจันทร์", "วัน"]),
        ("english", "水は高い。水中ﾗｲﾄ", "水", ["水", "水"]),
        ("none", "ﾗｲﾄ \uff2c\uff29\uff27\uff28\uff34", "ライト light", ["ﾗｲﾄ", "\uff2c\uff29\uff27\uff28\uff34"]),
        ("english", "snake_case_name", "case", ["case"]),
        ("english", "nothing", "lamp", []),
    ],
)
def test_words_of_a_question_in_any_script(language: Language, text: str, query: str, expected: list[str]) -> None:
    assert [text[low:high] for low, high in places(text, query, language)] == expected


@given(SCRIPTS, st.sampled_from(LANGUAGES))
def test_the_terms_are_those_of_the_index_and_stand_in_the_text(text: str, language: Language) -> None:
    found = list(located_terms(text, language))
    assert [term for term, _, _ in found] == analyze(text, language)
    assert all(0 <= low < high <= len(text) for _, low, high in found)
    assert [low for _, low, _ in found] == sorted(low for _, low, _ in found)
    for term, low, high in found:
        assert term in analyze(prepared(text[low:high]), language)


@given(SCRIPTS, SCRIPTS, st.sampled_from(LANGUAGES))
def test_places_are_in_order_and_apart(text: str, query: str, language: Language) -> None:
    found = places(text, query, language)
    assert all(low < high for low, high in found)
    assert all(before[1] < after[0] for before, after in pairwise(found))
