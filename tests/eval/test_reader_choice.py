"""Learning the embedded reader's choice: signs that tell are found, chance is not believed, a killed run goes on."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from eval.dataset import Case
from eval.reader_choice import as_json, as_look, fit, learn, look_at
from generator.choice import ChoiceSettings, Look, Span, Verdict, best_span, choose
from generator.pipeline import Event, Found, Stage
from generator.prompt import Turn
from indexer.document import Chunk
from indexer.errors import DatasetError, ModelError
from retriever.hit import Hit

TEXTS = ("It is Paris.", "It is Oslo.")
NEVER = ChoiceSettings(coverage_weight=0.0, doubt_weight=0.0, decline_above=1.0)


def case(number: int, answer: str = "") -> Case:
    return Case(f"q{number}", f"question {number}", answers=(answer,) if answer else (), answerable=bool(answer))


def look(coverages: tuple[float, float], log_decline: float, log_p: float = -1.0) -> Look:
    """Two passages; the reader likes the second's words a little more."""
    spans = (Span(1, 6, 10, log_p, 1), Span(0, 6, 11, log_p - 0.2, 1))
    return Look(TEXTS, coverages, Verdict((log_decline, log_decline), spans), (0.5, 0.5))


def told(noise: float, count: int = 60) -> tuple[list[Case], list[Look]]:
    """Half have an answer, in the passage that speaks of what is asked; the reader declines the others, with noise."""
    rng = random.Random(5)
    cases, looks = [], []
    for number in range(count):
        answerable = number % 2 == 0
        cases.append(case(number, "Paris" if answerable else ""))
        looks.append(look((0.9, 0.1), (-4.0 if answerable else -0.5) + rng.gauss(0, noise), rng.uniform(-3, -1)))
    return cases, looks


def test_signs_that_tell_are_found() -> None:
    cases, looks = told(noise=0.3)
    learned = learn(cases, looks, NEVER)
    assert learned.helps
    assert learned.held_out.recall > 0.9
    assert learned.held_out.declined_answerable <= 0.15
    assert learned.present.recall == 0
    assert learned.present.precision is None
    assert learned.test.mean_a == 0.0  # the reader's favourite is wrong, and nothing was declined
    assert learned.test.mean_b > 0.9
    assert learned.best.coverage_weight > 0
    assert learned.best.decline_reader > 0
    assert as_json(learned)["settings"]["decline_reader"] == round(learned.best.decline_reader, 4)


def test_the_sentence_that_speaks_of_what_is_asked_is_learned() -> None:
    rng = random.Random(3)
    cases, looks = [], []
    for number in range(120):
        right = rng.random() < 0.9  # nine times of ten the answer stands in the sentence with the question's words
        both = look((0.5, 0.5), -1.0, rng.uniform(-3, -1))
        cases.append(case(number, "Paris"))
        looks.append(replace(both, near=(0.2, 0.8) if right else (0.8, 0.2)))
    told = [*zip(cases, looks, strict=True), (case(120), look((0.1, 0.1), -0.1)), (case(121), look((0.1, 0.1), -0.2))]
    assert fit(told, NEVER).near_weight > 1
    assert best_span(looks[0], fit(told, NEVER)) == looks[0].verdict.spans[1]


def test_chance_is_not_believed() -> None:
    rng = random.Random(2)
    cases = [case(n, "Oslo" if n % 2 else "") for n in range(60)]
    looks = [look((rng.random(), rng.random()), -rng.random(), -rng.random()) for _ in cases]
    learned = learn(cases, looks, ChoiceSettings(coverage_weight=0.0, doubt_weight=0.0))
    assert not learned.helps
    assert as_json(learned)["settings"] == {}


def test_declining_costs_no_more_than_it_may() -> None:
    cases, looks = told(noise=3.0, count=200)
    weights = fit(list(zip(cases, looks, strict=True)), NEVER)
    declined = [choose(each, weights) is None for each in looks]
    answerable = [one for one, asked in zip(declined, cases, strict=True) if asked.answerable]
    assert sum(declined) > 0
    assert sum(answerable) / len(answerable) <= 0.15


def test_too_few_questions_are_refused() -> None:
    cases, looks = told(noise=0.1, count=38)
    with pytest.raises(DatasetError, match="19 questions with a known answer and 19 without"):
        learn(cases, looks, NEVER)


class Shelf:
    """Finds the same passage for every question."""

    def ask(self, question: str, history: Sequence[Turn] = ()) -> Iterator[Event]:
        yield Stage("search")
        chunk = Chunk("c", "d", TEXTS[0], 0, len(TEXTS[0]), (), None)
        yield Found(question, (Hit(chunk, "a.txt", "a", 1.0, 1, "bm25"),))
        raise AssertionError("nothing has to be written")


class Reads:
    """Reads until it breaks down."""

    def __init__(self, breaks_at: str = "") -> None:
        self.breaks_at = breaks_at
        self.read: list[str] = []

    def look(self, question: str, hits: Sequence[Hit]) -> Look:
        if question == self.breaks_at:
            raise KeyboardInterrupt
        if question == "question 1":
            raise ModelError("The reader stumbled.", "Try again.")
        self.read.append(question)
        return Look((hits[0].chunk.text,), (0.5,), Verdict((math.log(0.5),), (Span(0, 6, 11, -0.25, 2),)), (0.25,))


def test_a_killed_look_goes_on_and_failures_are_kept(tmp_path: Path) -> None:
    cases = [case(number, "Paris") for number in range(6)]
    first, second = Reads("question 3"), Reads()
    with pytest.raises(KeyboardInterrupt):
        look_at(Shelf(), first, cases, tmp_path, "set", {"model": "tiny"})
    run = look_at(Shelf(), second, cases, tmp_path, "set", {"model": "tiny"})
    assert first.read == ["question 0", "question 2"]
    assert second.read == ["question 3", "question 4", "question 5"]
    failed = [record for record in run.records if record.error]
    assert [(record.case_id, record.error) for record in failed] == [("q1", "ModelError")]
    assert run.records[0].outcome is not None
    assert as_look(run.records[0].outcome) == Look(
        (TEXTS[0],), (0.5,), Verdict((math.log(0.5),), (Span(0, 6, 11, -0.25, 2),)), (0.25,)
    )
