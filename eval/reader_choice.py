"""Learning from questions with and without answers when the embedded reader should answer, and with which words."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from eval.answer_metrics import token_f1
from eval.calibrate import FOLDS, LEVEL
from eval.dataset import Case
from eval.declining import LEAST, Declining, choose_threshold, fit_doubt, gain_as_json, measure_declining
from eval.run import Record, Run, failed_record, load_run, runs_folder, writing
from eval.statistics import Floats, PairedTest, compare_paired
from generator.answer import Answer
from generator.choice import (
    DECLINE_WEIGHTS,
    SPAN_WEIGHTS,
    ChoiceSettings,
    Look,
    Span,
    Verdict,
    best_span,
    choose,
    decline_probability,
    decline_signs,
    span_signs,
    span_weights,
)
from generator.pipeline import Event, Found
from generator.prompt import Turn
from indexer.errors import DatasetError, FootnoteError
from retriever.hit import Hit

KIND = "reader-looks"
_HOLD = 0.01  # how strongly each sign's weight, in its own spread, is held to the present one
_MISSED = 0.02  # token F1 that a question is worth at least: one that no span answers must not rule the fit

OnProgress = Callable[[str, int, int], None]


class Finds(Protocol):
    """What learning needs of a Pipeline."""

    def ask(self, question: str, history: Sequence[Turn] = ()) -> Iterator[Event]:
        """Answer one question."""


class Looks(Protocol):
    """What learning needs of an EmbeddedModel."""

    def look(self, question: str, hits: Sequence[Hit]) -> Look:
        """Read the passages."""


@dataclass(frozen=True, slots=True)
class Learned:
    """The best weights found, and what they are worth on questions they were not chosen on."""

    best: ChoiceSettings
    test: PairedTest  # token F1, the present weights against each question's under weights from the other folds
    present: Declining
    held_out: Declining
    helps: bool  # the gain is beyond chance


def look_at(
    pipeline: Finds,
    reader: Looks,
    cases: Sequence[Case],
    home: Path,
    dataset: str,
    identity: Mapping[str, Any],
    on_progress: OnProgress | None = None,
) -> Run:
    """Search for every question and read what is found, without choosing. After a kill, the same call goes on.

    Raises:
        ConfigError: the same is running in another process.
    """
    whole = {"kind": KIND, "signs": [*SPAN_WEIGHTS, *DECLINE_WEIGHTS], "dataset": dataset, **identity}
    with writing(runs_folder(home), whole, {}, cases) as run:
        done = {case_id for _, case_id in run.done()}
        for place, case in enumerate(cases):
            if case.id not in done:
                run.add(_looked(pipeline, reader, case, place))
            if on_progress:
                on_progress("questions", place + 1, len(cases))
        run.finish({})
    return load_run(home, str(run.path))


def learn(cases: Sequence[Case], looks: Sequence[Look], present: ChoiceSettings, seed: int = 0) -> Learned:
    """Fit the weights by token F1 and the declining by logistic regression, and try them in cross-validation.

    Every question is answered once with weights from the four fifths of the questions without it.

    Raises:
        DatasetError: fewer than 20 questions have an answer, or fewer than 20 have none.
    """
    kinds = [sum(case.answerable and bool(case.answers) for case in cases), sum(not case.answerable for case in cases)]
    if min(kinds) < LEAST:
        raise DatasetError(
            f"{kinds[0]} questions with a known answer and {kinds[1]} without one are too few to learn from.",
            f"Give at least {LEAST} of each; some hundred are good.",
        )
    told = [(case, look) for case, look in zip(cases, looks, strict=True) if case.answers or not case.answerable]
    fold_of = np.random.default_rng(seed).permutation(len(told)) % FOLDS
    spans: list[Span | None] = [None] * len(told)
    for fold in range(FOLDS):
        weights = fit([one for one, at in zip(told, fold_of, strict=True) if at != fold], present)
        for n in np.flatnonzero(fold_of == fold):
            spans[n] = choose(told[n][1], weights)
    before = [choose(look, present) for _, look in told]
    scores = [
        [_f1(case, look, span) for (case, look), span in zip(told, chosen, strict=True)] for chosen in (before, spans)
    ]
    test = compare_paired(scores[0], scores[1], seed)
    helps = test.difference > 0 and test.p < LEVEL
    return Learned(fit(told, present), test, _declining(told, before), _declining(told, spans), helps)


def fit(told: Sequence[tuple[Case, Look]], present: ChoiceSettings) -> ChoiceSettings:
    """The weights that are best on these questions: of the words first, then of declining."""
    answerable = [(case, look) for case, look in told if case.answerable and look.verdict.spans]
    return _fit_declining(told, _fit_words(answerable, present))


def as_json(learned: Learned) -> dict[str, Any]:
    """The result as one document."""
    return gain_as_json(learned.helps, weights(learned), learned.test, learned.present, learned.held_out)


def weights(learned: Learned) -> dict[str, float]:
    """The learned weights, by name."""
    return {name: round(value, 4) for name, value in asdict(learned.best).items()}


def as_look(outcome: Mapping[str, Any]) -> Look:
    """The look that was written down."""
    verdict = Verdict(tuple(outcome["log_decline"]), tuple(Span(**span) for span in outcome["spans"]))
    return Look(tuple(outcome["texts"]), tuple(outcome["coverages"]), verdict, tuple(outcome["near"]))


def _looked(pipeline: Finds, reader: Looks, case: Case, place: int) -> Record:
    try:
        turns = [(question, answer) for question, answer in case.turns]
        found = next(event for event in pipeline.ask(case.question, turns) if isinstance(event, Found))
        look = reader.look(found.query, found.hits) if found.hits else Look((), (), Verdict((), ()), ())
    except FootnoteError as error:
        return failed_record(case.id, place, error)
    outcome: dict[str, Any] = {
        "texts": look.texts,
        "coverages": look.coverages,
        "log_decline": look.verdict.log_decline,
        "spans": [asdict(span) for span in look.verdict.spans],
        "near": look.near,
    }
    return Record(case.id, place, outcome=outcome)


def _f1(case: Case, look: Look, span: Span | None) -> float:
    words = "" if span is None else look.words(span)
    return token_f1(case, Answer(words, (), (), abstained=span is None, query="")) or 0.0


def _fit_words(told: Sequence[tuple[Case, Look]], present: ChoiceSettings) -> ChoiceSettings:
    """Maximise the expected token F1 of a span drawn by its score, in its logarithm and near the present weights."""
    from scipy.optimize import minimize

    signs = [np.array(span_signs(look)) for _, look in told]  # each (S, D)
    values = [np.array([_f1(case, look, span) for span in look.verdict.spans]) for case, look in told]  # each (S,)
    spread = np.concatenate(signs).std(axis=0) + 1e-9
    held = np.array(span_weights(present)) * spread

    def loss(weights: Floats) -> tuple[float, Floats]:
        lost, slope = 0.0, np.zeros_like(weights)
        for rows, f1 in zip(signs, values, strict=True):
            scores = rows / spread @ weights
            odds = np.exp(scores - scores.max())
            drawn = odds / odds.sum()  # (S,)
            expected = float(drawn @ f1) + _MISSED
            lost -= np.log(expected)
            slope -= (drawn * (f1 + _MISSED - expected)) @ (rows / spread) / expected
        away = weights - held
        return lost / len(signs) + _HOLD * float(away @ away), slope / len(signs) + 2 * _HOLD * away

    found = minimize(loss, held, jac=True, method="L-BFGS-B").x / spread
    return replace(present, **dict(zip(SPAN_WEIGHTS, found.tolist(), strict=True)))


def _fit_declining(told: Sequence[tuple[Case, Look]], choice: ChoiceSettings) -> ChoiceSettings:
    """Logistic regression of "there is no answer" on the signs of the chosen words, then the threshold."""
    chosen = [(case, decline_signs(look, span)) for case, look in told if (span := best_span(look, choice))]
    missing = np.array([not case.answerable for case, _ in chosen], dtype=np.float64)
    bias, weights = fit_doubt(np.array([sign for _, sign in chosen]), missing)
    fitted = replace(choice, decline_bias=bias, **dict(zip(DECLINE_WEIGHTS, weights, strict=True)))
    doubts = np.array([decline_probability(sign, fitted) for _, sign in chosen])
    return replace(fitted, decline_above=choose_threshold(doubts, missing))


def _declining(told: Sequence[tuple[Case, Look]], spans: Sequence[Span | None]) -> Declining:
    return measure_declining([not case.answerable for case, _ in told], [span is None for span in spans])
