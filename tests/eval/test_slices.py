"""Parts of the cases: which there are, and when one of them is called different."""

import random

import pytest

from eval.dataset import Case
from eval.slices import exchange_test, find_slices


def test_a_weak_part_is_found_among_many() -> None:
    noise = random.Random(1)
    cases, scores = {}, {}
    for n in range(120):
        asks = "Who was the keeper" if n % 4 == 0 else f"{['When', 'Where', 'What'][n % 3]} is the lamp"
        case = Case(f"q{n}", asks + " now" * (n % 5) + "?", {"d": 1} if n % 2 else {"d": 1, "e": 1})
        cases[case.id] = case
        scores[case.id] = min(1.0, max(0.0, noise.gauss(0.35 if n % 4 == 0 else 0.75, 0.15)))
    slices = {part.name: part for part in find_slices(cases, scores)}
    weak = slices["asks who"]
    assert (weak.n, weak.mean < 0.45 < 0.65 < weak.rest, weak.p_holm < 0.01) == (30, True, True)
    assert {"asks when", "asks what", "one relevant passage", "several relevant passages"} <= set(slices)
    assert "follows other questions" not in slices  # nobody does


def test_a_part_of_a_few_cases_is_left_out() -> None:
    cases = {f"q{n}": Case(f"q{n}", "Who?" if n < 9 else "Why is that?") for n in range(30)}
    assert find_slices(cases, dict.fromkeys(cases, 0.5)) == ()
    assert find_slices({}, {}) == ()


def test_the_kind_is_the_first_question_word() -> None:
    texts = ["How many sheep are there?", "In what year was it?", "Name the ship."]
    cases = {f"{kind}{n}": Case(f"{kind}{n}", text) for kind, text in enumerate(texts) for n in range(10)}
    names = {part.name for part in find_slices(cases, {id_: len(id_) / 9 for id_ in cases})}
    assert {"asks how many", "asks what", "asks otherwise"} <= names


def test_equal_parts_are_no_evidence() -> None:
    assert exchange_test([0.5] * 10, [0.5] * 12) == 1.0
    assert exchange_test([0.1, 0.2, 0.3] * 5, [0.1, 0.2, 0.3] * 5) == pytest.approx(1.0)
    assert exchange_test([0.1, 0.2, 0.3] * 5, [0.7, 0.8, 0.9] * 5) < 0.001
