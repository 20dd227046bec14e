"""The arithmetic of the judged metrics, by hand, and as ragas' own code has it."""

import json
from pathlib import Path
from typing import Any

import pytest

from eval.claim_scores import average_precision, claim_f1, correctness, noise_sensitivity, relevancy, supported_share

# Written by `python -m bench.ragas_agreement --arithmetic --keep tests/eval/ragas_values.json` with ragas 0.4.3.
RAGAS = Path(__file__).with_name("ragas_values.json")
YES, NO = True, False


def test_supported_claims_over_claims() -> None:
    assert supported_share([YES, NO, YES, YES]) == 0.75
    assert supported_share([NO]) == 0.0
    assert supported_share([]) is None


def test_average_precision_is_over_the_useful_ranks() -> None:
    assert average_precision([NO, YES, NO, YES]) == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert average_precision([YES, YES, NO]) == 1.0
    assert average_precision([NO, NO]) == 0.0
    assert average_precision([]) == 0.0


def test_f1_of_claims() -> None:
    # Three claims, two of them right; of four in the reference one is left out: TP 2, FP 1, FN 1.
    assert claim_f1([YES, YES, NO], [YES, YES, YES, NO]) == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert claim_f1([NO], [NO]) == 0.0
    assert claim_f1([], [YES]) is None
    assert claim_f1([YES], []) is None


def test_correctness_weighs_claims_three_times_as_much() -> None:
    assert correctness(0.5, 0.9) == pytest.approx(0.75 * 0.5 + 0.25 * 0.9)
    assert correctness(None, 0.9) is None


def test_an_evasive_answer_has_no_relevancy() -> None:
    assert relevancy([0.5, 0.7], noncommittal=False) == pytest.approx(0.6)
    assert relevancy([0.5, 0.7], noncommittal=True) == 0.0
    assert relevancy([], noncommittal=False) is None


def test_noise_is_a_wrong_claim_from_a_passage() -> None:
    # Claims: right; wrong from the relevant passage; wrong from the other alone; wrong from both; wrong from none.
    correct = [YES, NO, NO, NO, NO]
    relevant_supports, other_supports = [YES, YES, NO, YES, NO], [YES, NO, YES, YES, NO]
    found = noise_sensitivity(correct, [relevant_supports, other_supports], [YES, NO])
    assert found == (pytest.approx(2 / 5), pytest.approx(1 / 5))
    assert noise_sensitivity([], [], []) == (None, None)
    assert noise_sensitivity([NO], [], []) == (0.0, 0.0)


def ours(case: dict[str, Any]) -> float | None:
    given = case["given"]
    if case["metric"] in ("faithfulness", "context_recall"):
        return supported_share(given["verdicts"])
    if case["metric"] == "context_precision":
        return average_precision(given["verdicts"])
    if case["metric"] == "answer_correctness":
        return correctness(claim_f1(given["answer"], given["reference"]), given["similarity"])
    if case["metric"] == "answer_relevancy":
        return relevancy(given["cosines"], given["noncommittal"])
    relevant = [any(verdicts) for verdicts in given["reference_by_passage"]]
    found = noise_sensitivity(given["correct"], given["answer_by_passage"], relevant)
    return found[case["metric"] == "noise_sensitivity_irrelevant"]


def test_ragas_has_the_same_scores() -> None:
    kept = json.loads(RAGAS.read_text(encoding="utf-8"))
    assert len({case["metric"] for case in kept["cases"]}) == 7
    for case in kept["cases"]:
        assert ours(case) == pytest.approx(case["ragas"], abs=1e-9), case
