"""Each answer metric against values computed by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import pytest

from eval.answer_metrics import confidence, normalised, score_answer
from eval.dataset import Case
from generator.answer import Answer, Citation
from indexer.document import Chunk
from retriever.hit import Hit

LAMP = "The lamp was lit in 1842. It burned oil."
FERRY = "The ferry leaves at nine."


def case(
    answers: Sequence[str] = (), *, answerable: bool = True, relevant: Mapping[str, int] = MappingProxyType({})
) -> Case:
    return Case("q", "when was the lamp lit?", relevant, tuple(answers), answerable)


def hit(source: str, text: str, rank: int) -> Hit:
    return Hit(Chunk(f"{source}:0", source, text, 0, len(text)), source, "", 1.0, rank, "bm25")


def citation(number: int, source: str, support: float = 1.0) -> Citation:
    return Citation(number, f"{source}:0", source, source, None, 0, 3, "The", support)


def answer(
    text: str, citations: Sequence[Citation] = (), hits: Sequence[Hit] = (), *, abstained: bool = False
) -> Answer:
    return Answer(text, tuple(citations), tuple(hits), abstained, "when was the lamp lit?")


def test_normalisation_is_that_of_squad() -> None:
    assert normalised("The Lamp's  oil, an ANSWER.") == "lamps oil answer"


def test_words_in_common() -> None:
    scores = score_answer(case(["in 1842", "1842"]), answer("It was lit in 1842 [1]."))
    assert (scores["em"], scores["contains"]) == (0.0, 1.0)
    assert scores["f1"] == pytest.approx(2 * 2 / (5 + 2))  # "in 1842" is the nearer one
    assert scores["rouge_l"] == pytest.approx(2 * 2 / (5 + 2))


def test_an_exact_answer() -> None:
    scores = score_answer(case(["1842"]), answer("1842. [1]"))
    assert (scores["em"], scores["f1"], scores["contains"], scores["rouge_l"], scores["answered"]) == (1, 1, 1, 1, 1)


def test_order_counts_for_rouge_and_not_for_f1() -> None:
    scores = score_answer(case(["oil burned lamp"]), answer("lamp burned oil"))
    assert scores["f1"] == 1.0
    assert scores["rouge_l"] == pytest.approx(1 / 3)


def test_a_known_answer_is_no_part_of_a_word() -> None:
    assert score_answer(case(["4"]), answer("It has 34 steps."))["contains"] == 0.0


def test_declining_what_has_an_answer() -> None:
    scores = score_answer(case(["1842"]), answer("The documents do not say.", abstained=True))
    assert (scores["em"], scores["f1"], scores["answered"], scores["abstention_precision"]) == (0, 0, 0, 0)
    assert "abstention_recall" not in scores
    assert "support" not in scores


def test_declining_what_has_none() -> None:
    scores = score_answer(case(answerable=False), answer("The documents do not say.", abstained=True))
    assert (scores["em"], scores["f1"], scores["abstention_precision"], scores["abstention_recall"]) == (1, 1, 1, 1)
    assert "answered" not in scores
    assert "rouge_l" not in scores


def test_answering_what_has_none() -> None:
    scores = score_answer(case(answerable=False), answer("In 1842."))
    assert (scores["em"], scores["f1"], scores["abstention_recall"]) == (0, 0, 0)
    assert "abstention_precision" not in scores


def test_without_known_answers_nothing_is_said_about_them() -> None:
    scores = score_answer(case(), answer("In 1842."))
    assert not {"em", "f1", "contains", "rouge_l", "citation_precision", "context_recall"} & set(scores)


def test_citations_against_the_relevant_passages() -> None:
    text = "The lamp was lit in 1842. [1] It burned oil. [2][3] Nobody knows why."
    given = answer(text, [citation(1, "lamp"), citation(2, "ferry"), citation(3, "lamp")])
    scores = score_answer(case(relevant={"lamp": 1, "ferry": 0}), given)
    assert scores["citation_precision"] == pytest.approx(2 / 3)
    assert scores["citation_recall"] == pytest.approx(2 / 3)


def test_an_answer_without_footnotes_has_precision_0() -> None:
    scores = score_answer(case(relevant={"lamp": 1}), answer("It burned oil."))
    assert (scores["citation_precision"], scores["citation_recall"]) == (0.0, 0.0)


def test_quoted_words_must_say_what_their_sentence_says() -> None:
    quotes = {1: "The lamp was lit in 1842.", 2: "It burned", 3: "whale oil.", 4: "The ferry leaves at nine."}
    cited = [replace(citation(number, "lamp"), quote=quote) for number, quote in quotes.items()]
    text = "The lamp was lit in 1842. [1] It burned whale oil. [2][3] It has a keeper. [4] Nobody knows why."
    assert score_answer(case(), answer(text, cited))["quote_support"] == pytest.approx(2 / 3)
    assert score_answer(case(), answer("It was lit in 1843. [1]", cited))["quote_support"] == 0.0
    denied = replace(citation(1, "lamp"), quote="It was not John but Anna who lit it.")
    assert score_answer(case(), answer("Anna [1]", [denied]))["quote_support"] == 1.0  # word for word
    assert "quote_support" not in score_answer(case(), answer("It was lit in 1842.", cited))


def test_support_is_of_sentences() -> None:
    hits = [hit("ferry", FERRY, 1), hit("lamp", LAMP, 2)]
    scores = score_answer(case(), answer("It burned oil. [1] Whales were hunted for candles.", hits=hits))
    assert scores["support"] == 0.5


def test_context_precision_and_recall() -> None:
    hits = [hit("ferry", FERRY, 1), hit("lamp", LAMP, 2), hit("bees", "Bees.", 3), hit("oil", "Oil.", 4)]
    scores = score_answer(case(relevant={"lamp": 1, "oil": 2, "gone": 1}), answer("In 1842.", hits=hits))
    assert scores["context_recall"] == pytest.approx(2 / 3)
    assert scores["context_precision"] == pytest.approx((1 / 2 + 2 / 4) / 2)
    nothing = score_answer(case(relevant={"lamp": 1}), answer("In 1842.", hits=hits[:1]))
    assert (nothing["context_recall"], nothing["context_precision"]) == (0.0, 0.0)


def test_noise_is_a_wrong_sentence_that_a_passage_supports() -> None:
    hits = [hit("lamp", LAMP, 1), hit("ferry", FERRY, 2)]
    said = answer("The lamp was lit in 1842. It burned oil. The ferry leaves at nine. Whales sing.", hits=hits)
    scores = score_answer(case(["in 1842"], relevant={"lamp": 1}), said)
    assert (scores["noise_relevant"], scores["noise_irrelevant"]) == (0.25, 0.25)  # oil; the ferry
    both = score_answer(case(["in 1842"], relevant={"lamp": 1, "ferry": 1}), said)
    assert (both["noise_relevant"], both["noise_irrelevant"]) == (0.5, 0.0)
    for silent in (case(relevant={"lamp": 1}), case(["in 1842"])):
        assert not {"noise_relevant", "noise_irrelevant"} & set(score_answer(silent, said))


def test_confidence_is_the_mean_support_of_the_footnotes() -> None:
    assert confidence(answer("x", [citation(1, "a", 0.5), citation(2, "b", 1.0)])) == 0.75
    assert confidence(answer("The documents do not say.", abstained=True)) == 0.0
    assert confidence(replace(answer("x", [citation(1, "a", 0.5)]), doubt=0.25)) == 0.75  # what was learned goes before
