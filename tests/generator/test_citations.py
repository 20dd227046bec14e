import re
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generator.align import coverages, nearness
from generator.citations import cite, without_markers
from retriever.hit import Hit

MakeHit = Callable[..., Hit]
TOWER = "The tower opened in 1889. It is 330 metres tall. Gustave Eiffel built it."
CITIES = "| City | People |\n| Paris | 2,102,650 |\n| Oslo | 717,000 |"


@pytest.fixture
def hits(hit: MakeHit) -> list[Hit]:
    return [hit(TOWER, 100), hit(CITIES, 7, "cities")]


def test_marker_becomes_the_sentence_that_supports_it(hits: list[Hit]) -> None:
    cited = cite("It is 330 metres tall [1].", hits)
    (citation,) = cited.citations
    assert cited.text == "It is 330 metres tall [1]."
    assert citation.quote == "It is 330 metres tall."
    assert (citation.start, citation.end) == (100 + TOWER.index("It is"), 100 + TOWER.index(" Gustave"))
    assert citation.document_id == "d"
    assert citation.support == 1.0


@pytest.mark.parametrize(
    ("text", "kept", "dropped"),
    [
        ("It opened in 1889 [7].", "It opened in 1889.", 1),
        ("It opened in 1889 [0][1], 330 metres tall [9].", "It opened in 1889 [1], 330 metres tall.", 2),
        ("It opened in 1889 [1, 5].", "It opened in 1889 [1].", 1),
        ("It opened in 1889 [999].", "It opened in 1889.", 1),
    ],
)
def test_marker_that_names_nothing_is_dropped_and_counted(hits: list[Hit], text: str, kept: str, dropped: int) -> None:
    cited = cite(text, hits)
    assert (cited.text, cited.dropped) == (kept, dropped)


@pytest.mark.parametrize(
    "text",
    ["It opened in 1889 [1].", "It opened in 1889[1].", "It opened in 1889. [1]", "It opened in 1889 【1】.",
     "It opened in 1889 【1†source】.", "It opened in 1889 [^1].", "It opened in 1889 [ 1 ]."],
)  # fmt: skip
def test_ways_to_write_a_marker(hits: list[Hit], text: str) -> None:
    cited = cite(text, hits)
    assert [c.quote for c in cited.citations] == ["The tower opened in 1889."]
    assert "[1]" in cited.text
    assert cited.dropped == 0


@pytest.mark.parametrize("marker", ["[1][2]", "[1, 2]", "[1-2]", "[1; 2]", "[1 and 2]", "[2][1]"])
def test_several_numbers(hits: list[Hit], hit: MakeHit, marker: str) -> None:
    hits[1] = hit("In 1889 the tower opened.", 0, "other")
    cited = cite(f"The tower opened in 1889 {marker}.", hits)
    assert {c.document_id for c in cited.citations} == {"d", "other"}
    assert cited.text == "The tower opened in 1889 [1][2]."


def test_one_passage_may_give_two_quotes(hits: list[Hit]) -> None:
    cited = cite(
        "It opened in 1889 [1]. Gustave Eiffel built it [1]. It is 330 metres tall and opened in 1889 [1].", hits
    )
    assert [c.number for c in cited.citations] == list(range(1, len(cited.citations) + 1))
    assert [c.quote for c in cited.citations][:2] == ["The tower opened in 1889.", "Gustave Eiffel built it."]


def test_number_that_the_passage_does_not_give_lowers_support(hits: list[Hit]) -> None:
    (right,) = cite("The tower that Eiffel built opened in 1889 [1].", hits).citations
    wrong = cite("The tower that Eiffel built opened in 1950 [1].", hits).citations
    assert all(c.support <= 0.4 < right.support for c in wrong)


def test_citation_of_the_wrong_passage_is_moved_to_the_right_one(hits: list[Hit]) -> None:
    cited = cite("The tower opened in 1889 [2].", hits)
    (citation,) = cited.citations
    assert (citation.document_id, citation.quote, citation.support) == ("d", "The tower opened in 1889.", 1.0)
    assert cited.text == "The tower opened in 1889 [1]."
    assert (cited.dropped, cited.unsupported, cited.moved) == (0, 0, 1)


def test_citation_that_no_passage_bears_out_is_left_out(hits: list[Hit]) -> None:
    cited = cite("Bananas are yellow [2].", hits)
    assert (cited.citations, cited.text) == ((), "Bananas are yellow.")
    assert (cited.dropped, cited.unsupported, cited.moved) == (0, 1, 0)


@pytest.mark.parametrize("markers", ["[1][2]", "[2][1]", "[2, 1]"])
def test_a_wrong_marker_beside_the_right_one_is_dropped(hits: list[Hit], markers: str) -> None:
    cited = cite(f"The tower opened in 1889 {markers}.", hits)
    assert cited.text == "The tower opened in 1889 [1]."
    assert (cited.unsupported, cited.moved) == (1, 0)


def test_table_row_is_the_quote(hits: list[Hit]) -> None:
    (citation,) = cite("717,000 [2]", hits, "How many people live in Oslo?").citations
    assert citation.quote == "| Oslo | 717,000 |"


def test_question_decides_between_equal_words(hit: MakeHit) -> None:
    text = "The ferry leaves on Monday. The library opens on Monday."
    (citation,) = cite("Monday [1]", [hit(text)], "When does the library open?").citations
    assert citation.quote == "The library opens on Monday."


def test_yes_rests_on_what_the_question_says(hit: MakeHit) -> None:
    (citation,) = cite(
        "Yes [1].", [hit("Tea is sold here. Dogs are allowed in the garden.")], "Are dogs allowed in the garden?"
    ).citations
    assert citation.quote == "Dogs are allowed in the garden."
    assert citation.support <= 0.5


def test_clear_support_is_cited_without_being_asked(hits: list[Hit]) -> None:
    cited = cite("The tower opened in 1889. Bananas are yellow.", hits)
    assert cited.text == "The tower opened in 1889. [1] Bananas are yellow."


def test_long_sentence_gives_a_short_quote(hit: MakeHit) -> None:
    text = "word " * 300 + "the answer is forty two " + "word " * 300
    (citation,) = cite("forty two [1]", [hit(text)]).citations
    assert "forty two" in citation.quote
    assert len(citation.quote) < 500


def test_each_sentence_says_how_well_it_is_supported(hits: list[Hit]) -> None:
    cited = cite("It opened in 1889 [1]. It sank in 1912. [1] It is 330 metres tall.", hits)
    assert cited.text == "It opened in 1889 [1]. It sank in 1912. It is 330 metres tall."
    opened, sank, tall = cited.sentences
    assert (opened.text, opened.supported, opened.citations) == ("It opened in 1889 [1].", True, (1,))
    assert (sank.text, sank.support, sank.supported, sank.citations) == ("It sank in 1912.", 0.0, False, ())
    assert (tall.text, tall.support, tall.supported, tall.citations) == ("It is 330 metres tall.", 1.0, True, ())
    assert [cited.text[s.start : s.end] for s in cited.sentences] == [s.text for s in cited.sentences]


def test_two_passages_together_support_what_neither_does(hits: list[Hit], hit: MakeHit) -> None:
    hits[1] = hit("The museum keeps a bronze bell.", 0, "other")
    claim = "Gustave Eiffel and the bronze bell of the museum [1][2]."
    alone = [cite(claim.replace("[1][2]", marker), hits).sentences[0].support for marker in ("[1]", "[2]")]
    (both,) = cite(claim, hits).sentences
    assert both.citations == (1, 2)
    assert max(alone) < both.support == 0.99


def test_the_item_of_a_numbered_list_is_judged_without_its_number(hits: list[Hit]) -> None:
    cited = cite("7. The tower opened in 1889 [1].\n8. It is 330 metres tall [1].", hits)
    assert [s.support for s in cited.sentences] == [1.0, 1.0]


def test_headings_and_heads_of_tables_claim_nothing(hits: list[Hit]) -> None:
    text = "## Whales\n\n| Whale | Krill |\n|---|---|\n| Oslo | 717,000 [2] |\n\n---\n\nIt is 330 metres tall [1]."
    cited = cite(text, hits)
    assert cited.text == text.replace("[2]", "[9]").replace("[1]", "[2]").replace("[9]", "[1]")
    assert [(s.text, s.supported) for s in cited.sentences] == [
        ("| Oslo | 717,000 [1] |", True),
        ("It is 330 metres tall [2].", True),
    ]


@pytest.mark.parametrize(
    "code",
    [
        "```python\nrow = table[1]\n\nprint(row [2] , 7)\n```",
        "~~~\nrow[1]\n~~~",
        "````\n```\nrow[1]\n```\n````",
        "`row[1]`",
        "```\nrow[1] is never closed",
    ],
)
def test_brackets_in_code_stay(hits: list[Hit], code: str) -> None:
    cited = cite(f"It is 330 metres tall [1].\n\n{code}", hits)
    assert cited.text == f"It is 330 metres tall [1].\n\n{code}"
    assert [c.quote for c in cited.citations] == ["It is 330 metres tall."]
    assert cited.dropped == 0


def test_a_marker_behind_code_is_of_the_code(hit: MakeHit) -> None:
    passage = hit("Set the gauge:\n\ngauge = tide[1] * 3\n\nThen wait.")
    cited = cite("Do this.\n\n```\ngauge = tide[1] * 3\n```\n[1]", [passage])
    assert cited.text == "Do this.\n\n```\ngauge = tide[1] * 3\n```\n[1]"
    assert [c.quote for c in cited.citations] == ["gauge = tide[1] * 3"]
    assert [(s.citations, s.support) for s in cited.sentences] == [((), 0.0), ((1,), 1.0)]


def test_a_quote_across_a_sentence_end_is_quoted_whole(hits: list[Hit]) -> None:
    cited = cite("\u201cthe tower opened in 1889. it is 330 metres tall\u201d [1]", hits)
    assert [c.quote for c in cited.citations] == ["The tower opened in 1889. It is 330 metres tall."]


def test_a_weak_citation_gives_way_to_a_clear_one(hits: list[Hit], hit: MakeHit) -> None:
    hits[1] = hit("The tower was built to stand for twenty years.", 0, "other")
    cited = cite("The tower that Gustave Eiffel built opened in 1889 [2].", [hits[1], hits[0]])
    assert cited.moved == 0  # the second passage is the tower's own
    cited = cite("The tower that Gustave Eiffel built [2].", hits)
    assert [c.document_id for c in cited.citations] == ["d"]
    assert cited.moved == 1


def test_yes_is_supported_by_what_it_affirms(hits: list[Hit], hit: MakeHit) -> None:
    passage = hit("Dogs are allowed in the garden.")
    (yes,) = cite("Yes [1].", [passage], "Are dogs allowed in the garden?").sentences
    (no,) = cite("Yes [1].", [passage], "Are cats sold at the market?").sentences
    assert (yes.supported, no.supported) == (True, False)


PIECES = [
    "The tower opened in 1889",
    "330 metres",
    "[1]",
    "[2]",
    "[3]",
    "[1, 2]",
    "[12345]",
    "\u30102\u3011",
    "[",
    "]",
    ". ",
]
ANSWERS = st.lists(st.sampled_from([*PIECES, " ", "\n", "Oslo", "717,000", "[1-3]", "[x]", "\u00e9"]), max_size=14).map(
    "".join
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANSWERS | st.text(max_size=60))
def test_every_marker_names_one_citation_and_every_quote_is_exact(hits: list[Hit], text: str) -> None:
    cited = cite(text, hits, "How tall is the tower in Oslo?")
    numbers = [int(n) for n in re.findall(r"\[(\d+)\]", cited.text)]
    assert set(numbers) == {c.number for c in cited.citations}
    assert [c.number for c in cited.citations] == list(range(1, len(cited.citations) + 1))
    starts = {hit.chunk.document_id: hit.chunk for hit in hits}
    for citation in cited.citations:
        chunk = starts[citation.document_id]
        assert chunk.text[citation.start - chunk.start : citation.end - chunk.start] == citation.quote
        assert 0 <= citation.support <= 1
        assert citation.quote.strip() == citation.quote != ""


@given(st.text())
def test_text_without_markers_stays(text: str) -> None:
    if not re.search(r"[\[【]", text):
        assert without_markers(text) == text.strip()


def test_coverage_counts_rare_words_more() -> None:
    texts = ("The tower is tall.", "The tower in Paris.", "Green tea.")
    tall, paris, tea = coverages("How tall is the tower of Paris?", texts)
    assert tea == 0
    assert tall == paris  # "tall" and "Paris" are as rare as each other
    assert 0.5 < paris < 1
    assert coverages("Who is it?", texts) == (0, 0, 0)


def test_nearness_is_the_coverage_of_the_sentence_around_a_place() -> None:
    texts = ("Oslo is cold. Paris has a tower.", "Towers of Paris")
    at = [(0, texts[0].index("cold")), (0, texts[0].index("has")), (1, 0), (1, 99)]
    cold, tower, both, nowhere = nearness("Does Paris have a tower?", texts, at)
    assert (cold, nowhere) == (0, 0)
    assert tower == both == 1.0
