"""Learning from a finished run when an answer that a server wrote should have been declined."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from eval.answer_metrics import token_f1
from eval.calibrate import FOLDS, LEVEL
from eval.dataset import Case
from eval.declining import (
    LEAST,
    Declining,
    area_under,
    choose_threshold,
    fit_doubt,
    gain_as_json,
    measure_declining,
    risk_at,
    risk_coverage,
)
from eval.statistics import Floats, PairedTest, compare_paired
from generator.answer import Answer
from generator.doubt import DoubtSettings, Signs, doubt_of, signs_of
from indexer.errors import DatasetError

COVERAGES = tuple(round(tenth / 10, 1) for tenth in range(1, 11))


@dataclass(frozen=True, slots=True)
class Curve:
    """Risk (1 minus token F1) of the surest answers: at each of `COVERAGES`, and the mean over all."""

    area: float
    risks: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Learned:
    """The best weights found, and what they are worth on questions they were not chosen on."""

    best: DoubtSettings
    test: PairedTest  # token F1, the answers as they are against each question's under weights from the other folds
    present: Declining
    held_out: Declining
    by_support: Curve  # the surest are those with the best supported footnotes
    by_doubt: Curve  # the surest are those with the least doubt, by weights from the other folds
    helps: bool  # the gain is beyond chance


def learn(cases: Sequence[Case], answers: Sequence[Answer], seed: int = 0) -> Learned:
    """Fit weights and threshold, and try them in cross-validation: each fifth by weights from the other four.

    What the model declined by itself stays declined.

    Raises:
        DatasetError: fewer than 20 of the answered questions have an answer, or fewer than 20 have none.
    """
    told = [(case, answer) for case, answer in zip(cases, answers, strict=True) if case.answers or not case.answerable]
    signs = [signs_of(answer) for _, answer in told]
    missing = np.array([not case.answerable for case, _ in told], dtype=np.float64)
    _check_enough(signs, missing)
    fold_of = np.random.default_rng(seed).permutation(len(told)) % FOLDS
    doubts, declined = np.full(len(told), math.inf), np.ones(len(told), dtype=bool)
    for fold in range(FOLDS):
        inside = np.flatnonzero(fold_of != fold)
        weights = fit([signs[n] for n in inside], missing[inside].tolist())
        for n in np.flatnonzero(fold_of == fold):
            doubts[n] = _doubt(signs[n], weights)
            declined[n] = doubts[n] > weights.decline_above
    before = [_f1(case, answer) for case, answer in told]
    after = [_f1(case, replace(answer, abstained=bool(no))) for (case, answer), no in zip(told, declined, strict=True)]
    test = compare_paired(before, after, seed)
    lacks = [not case.answerable for case, _ in told]
    answered = [n for n, sign in enumerate(signs) if sign is not None]
    return Learned(
        best=fit(signs, missing.tolist()),
        test=test,
        present=measure_declining(lacks, [sign is None for sign in signs], seed),
        held_out=measure_declining(lacks, declined.tolist(), seed),
        by_support=_curve([(sign.support, before[n]) for n in answered if (sign := signs[n])]),
        by_doubt=_curve([(-float(doubts[n]), before[n]) for n in answered]),
        helps=test.difference > 0 and test.p < LEVEL,
    )


def fit(signs: Sequence[Signs | None], missing: Sequence[float]) -> DoubtSettings:
    """Logistic regression of "there is no answer" on the signs of what was answered, then the threshold."""
    answered = [sign for sign in signs if sign is not None]
    lacks = np.array([lack for sign, lack in zip(signs, missing, strict=True) if sign is not None])
    told = [sign.log_p for sign in answered if sign.log_p is not None]
    typical = math.fsum(told) / len(told) if told else 0.0
    rows = [(s.coverage, s.dense, s.support, typical if s.log_p is None else s.log_p) for s in answered]
    bias, (coverage, dense, support, log_p) = fit_doubt(np.array(rows), lacks)
    fitted = DoubtSettings(bias, coverage, dense, support, log_p, typical)
    doubts = np.array([_doubt(sign, fitted) for sign in signs])
    return replace(fitted, decline_above=choose_threshold(doubts, np.array(missing)))


def as_json(learned: Learned) -> dict[str, Any]:
    """The result as one document."""
    return {
        **gain_as_json(learned.helps, weights(learned), learned.test, learned.present, learned.held_out),
        "risk_coverage": {
            "coverages": COVERAGES,
            "support": asdict(learned.by_support),
            "doubt": asdict(learned.by_doubt),
        },
    }


def weights(learned: Learned) -> dict[str, float]:
    """The learned weights, by name."""
    return {name: round(value, 4) for name, value in asdict(learned.best).items()}


def _check_enough(signs: Sequence[Signs | None], missing: Floats) -> None:
    lacks = [lack for sign, lack in zip(signs, missing, strict=True) if sign is not None]
    without = round(sum(lacks))
    with_answer = len(lacks) - without
    if min(with_answer, without) < LEAST:
        raise DatasetError(
            f"Of the questions that were answered, {with_answer} have a known answer and {without} have none: too few.",
            f"Give at least {LEAST} of each; some hundred are good. A model that declines well needs no more.",
        )


def _doubt(sign: Signs | None, settings: DoubtSettings) -> float:
    """Infinite where the model declined by itself."""
    return math.inf if sign is None else doubt_of(sign, settings)


def _curve(pairs: Sequence[tuple[float, float]]) -> Curve:
    points = risk_coverage(pairs)
    return Curve(round(area_under(points), 4), tuple(round(risk_at(points, share), 4) for share in COVERAGES))


def _f1(case: Case, answer: Answer) -> float:
    return token_f1(case, answer) or 0.0
