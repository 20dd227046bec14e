"""Learning when to decline a server's answer: signs that tell are found, chance is not believed."""

import random

import pytest

from eval.abstention import COVERAGES, as_json, fit, learn
from eval.dataset import Case
from generator.answer import Answer, Citation
from generator.doubt import DoubtSettings, Signs, doubt_of, signs_of
from indexer.document import Chunk
from indexer.errors import DatasetError
from retriever.hit import Hit, Part

TEXT = "Paris is the capital."


def answered(support: float, log_p: float | None, *, dense: float = 0.5) -> Answer:
    hit = Hit(Chunk("c", "d", TEXT, 0, len(TEXT)), "a.txt", "", 1.0, 1, "bm25", {"dense": Part(dense, 1)})
    citation = Citation(1, "c", "d", "a.txt", None, 0, 5, "Paris", support)
    return Answer("Paris [1]", (citation,), (hit,), False, "capital", log_p_token=log_p)


def told(noise: float, count: int = 80) -> tuple[list[Case], list[Answer]]:
    """Half of the questions have an answer, which is right; the model is less sure of the others, with noise."""
    rng = random.Random(5)
    cases, answers = [], []
    for n in range(count):
        there = n % 2 == 0
        cases.append(Case(f"q{n}", f"question {n}", answers=("Paris",) if there else (), answerable=there))
        log_p = (-0.2 if there else -1.5) + rng.gauss(0, noise)
        answers.append(answered(rng.uniform(0.5, 1), log_p, dense=rng.uniform(0.3, 0.6)))
    return cases, answers


def test_a_sign_that_tells_is_found() -> None:
    learned = learn(*told(noise=0.2))
    assert learned.helps
    assert (learned.present.recall, learned.present.precision) == (0.0, None)
    assert learned.held_out.recall > 0.9
    assert learned.held_out.declined_answerable <= 0.15
    assert learned.best.log_p < 0
    assert (learned.test.mean_a, learned.test.mean_b > 0.9) == (0.5, True)
    assert learned.by_doubt.area < learned.by_support.area
    assert learned.by_doubt.risks[0] == 0.0  # the least doubtful tenth is right
    assert learned.by_doubt.risks[-1] == learned.by_support.risks[-1] == 0.5
    document = as_json(learned)
    assert document["settings"]["log_p"] == round(learned.best.log_p, 4)
    assert len(document["risk_coverage"]["doubt"]["risks"]) == len(COVERAGES) == 10


def test_chance_is_not_believed() -> None:
    rng = random.Random(2)
    cases, _ = told(noise=0.0)
    answers = [answered(rng.random(), -rng.random(), dense=rng.random()) for _ in cases]
    learned = learn(cases, answers)
    assert not learned.helps
    assert as_json(learned)["settings"] == {}


def test_what_the_model_declined_stays_declined() -> None:
    cases, answers = told(noise=0.2, count=120)
    for n in range(1, 41, 2):
        answers[n] = Answer("", (), (), True, "capital")
    learned = learn(cases, answers)
    assert learned.present.recall == 20 / 60
    assert learned.held_out.recall > 0.9


def test_a_missing_log_probability_counts_as_the_usual_one() -> None:
    cases, answers = told(noise=0.1)
    signs = [signs_of(answer) for answer in answers]
    settings = fit(signs, [float(not case.answerable) for case in cases])
    logs = [answer.log_p_token for answer in answers if answer.log_p_token is not None]
    assert settings.typical_log_p == pytest.approx(sum(logs) / len(logs))
    sign = Signs(0.5, 0.4, 0.9, None)
    assert doubt_of(sign, settings) == doubt_of(Signs(0.5, 0.4, 0.9, settings.typical_log_p), settings)
    silent = fit([signs_of(answered(0.9, None)) for _ in cases], [float(not case.answerable) for case in cases])
    assert (silent.log_p, silent.typical_log_p) == (0.0, 0.0)
    assert isinstance(silent, DoubtSettings)


def test_too_few_answered_questions_are_refused() -> None:
    cases, answers = told(noise=0.1, count=60)
    for n in range(1, 30, 2):
        answers[n] = Answer("", (), (), True, "capital")
    with pytest.raises(DatasetError, match="30 have a known answer and 15 have none"):
        learn(cases, answers)
