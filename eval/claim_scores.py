"""From verdicts to scores: the arithmetic of the metrics that ragas defines, apart from whoever gave the verdicts.

Es et al. 2023 (arXiv:2309.15217) for faithfulness and answer relevancy; for the others the definitions of ragas 0.4
(https://docs.ragas.io/en/stable/concepts/metrics/). `python -m bench.ragas_agreement --arithmetic` holds them to its
own code. A score that nothing bears on is None, where ragas has NaN.
"""

from collections.abc import Sequence
from statistics import fmean

CLAIMS_WEIGHT, SIMILARITY_WEIGHT = 0.75, 0.25  # of answer correctness, as ragas has them
Verdicts = Sequence[bool]


def supported_share(verdicts: Verdicts) -> float | None:
    """Supported claims over claims: faithfulness of an answer's claims, context recall of a reference's."""
    return sum(verdicts) / len(verdicts) if verdicts else None


def average_precision(useful: Verdicts) -> float:
    """Mean precision at the rank of each useful passage, best first; 0 where none is useful."""
    shares = [sum(useful[:rank]) / rank for rank, one in enumerate(useful, start=1) if one]
    return fmean(shares) if shares else 0.0


def claim_f1(answer_in_reference: Verdicts, reference_in_answer: Verdicts) -> float | None:
    """F1 of claims: what the answer says that the reference holds (TP) or not (FP), and what it leaves out (FN)."""
    if not answer_in_reference or not reference_in_answer:
        return None
    true = sum(answer_in_reference)
    false, missing = len(answer_in_reference) - true, len(reference_in_answer) - sum(reference_in_answer)
    return 2 * true / (2 * true + false + missing) if true else 0.0


def correctness(f1: float | None, similarity: float) -> float | None:
    """Weighted mean of the claims' F1 and the texts' cosine."""
    return None if f1 is None else CLAIMS_WEIGHT * f1 + SIMILARITY_WEIGHT * similarity


def relevancy(cosines: Sequence[float], noncommittal: bool) -> float | None:
    """Mean cosine of the question with questions made from the answer; 0 where the answer is evasive."""
    if noncommittal:
        return 0.0
    return fmean(cosines) if cosines else None


def noise_sensitivity(
    correct: Verdicts, supports: Sequence[Verdicts], relevant: Verdicts
) -> tuple[float | None, float | None]:
    """Shares of an answer's claims that are wrong and come from a relevant passage, and from irrelevant ones alone.

    `correct` is by claim, `relevant` by passage; supports[passage][claim]. A passage is relevant if it supports a claim
    of the reference, or by people's judgement. Lower is better.
    """
    if not correct:
        return None, None
    by_relevant = by_others = 0
    for claim, right in enumerate(correct):
        if right:
            continue
        sources = [one for one, verdicts in zip(relevant, supports, strict=True) if verdicts[claim]]
        by_relevant += any(sources)
        by_others += bool(sources) and not any(sources)
    return by_relevant / len(correct), by_others / len(correct)
