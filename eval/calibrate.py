"""Learning how to join bm25 and dense from judged questions, and saying whether it helps by more than chance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from eval.dataset import Case
from eval.metrics import score_rankings
from eval.retrieval import searched_for
from eval.statistics import PairedTest, compare_paired
from indexer.collection import Collection
from indexer.encoder import Encoder
from indexer.errors import DatasetError
from retriever.fusion import NORMALISATIONS, Ranking, convex, rrf, rrf_weights
from retriever.search import RetrieverSettings

METRIC, CUT = "ndcg@10", 10
FOLDS = 5
LEAST = 20  # judged questions: fewer cannot tell choices apart
LEVEL = 0.05
WEIGHTS = tuple(round(step / 20, 2) for step in range(21))
RRF_KS = (10.0, 60.0, 100.0)
DEPTHS = (20, 50, 100, 200)

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The best settings found, and what they gain over the present ones on questions they were not chosen on."""

    best: RetrieverSettings
    held_out: PairedTest  # the second is: each question with what was best on the other folds
    present: float  # mean nDCG@10
    fitted: float  # mean nDCG@10 of `best` on the questions it was chosen on: too good to be true
    helps: bool  # the gain is beyond chance


def calibrate(
    collection: Collection,
    encoder: Encoder,
    cases: Sequence[Case],
    present: RetrieverSettings,
    *,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Calibration:
    """Choose fusion, weight, normalisation and depth by nDCG@10 in cross-validation.

    Every question is scored once with the choice that was best on the four fifths of the questions without it, so the
    gain is one that new questions can expect. Among equals the choice nearest to the first in `choices` is taken.

    Raises:
        DatasetError: fewer than 20 questions are judged.
    """
    if len(cases) < LEAST:
        raise DatasetError(
            f"{len(cases)} judged questions are too few to learn from.",
            f"Judge at least {LEAST}; some hundred are good.",
        )
    candidates = choices(present)
    rankings = _both(collection, encoder, cases, max(choice.candidates for choice in candidates))
    scores = np.empty((len(candidates), len(cases)))
    for row, choice in enumerate(candidates):
        scores[row] = _ndcg(rankings, cases, choice)
        if on_progress:
            on_progress("choices", row + 1, len(candidates))
    chosen = cross_validated(scores, seed)
    held_out = compare_paired(scores[0].tolist(), chosen.tolist(), seed)
    best = int(scores.mean(axis=1).argmax())
    helps = held_out.difference > 0 and held_out.p < LEVEL
    return Calibration(candidates[best], held_out, float(scores[0].mean()), float(scores[best].mean()), helps)


def choices(present: RetrieverSettings) -> list[RetrieverSettings]:
    """The present settings first, then every other one that is tried."""
    tried = [
        replace(present, fusion="convex", dense_weight=weight, candidates=depth)
        for weight, depth in product(WEIGHTS, DEPTHS)
    ]
    tried += [
        replace(present, fusion="convex", dense_weight=weight, normalisation=how)
        for weight, how in product(WEIGHTS, NORMALISATIONS)
    ]
    tried += [replace(present, fusion="rrf", rrf_k=k, candidates=depth) for k, depth in product(RRF_KS, DEPTHS)]
    tried += [
        replace(present, fusion="rrf", rrf_k=k, rrf_dense_weight=weight) for k, weight in product(RRF_KS, WEIGHTS[1:-1])
    ]
    return list(dict.fromkeys([present, *tried]))


def cross_validated(scores: np.ndarray[Any, np.dtype[np.float64]], seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Of `scores` (choices, questions): each question's score under the choice that was best on the other folds."""
    count = scores.shape[1]
    fold_of = np.random.default_rng(seed).permutation(count) % FOLDS
    chosen = np.empty(count)
    for fold in range(FOLDS):
        outside = fold_of == fold
        best = int(scores[:, ~outside].mean(axis=1).argmax())
        chosen[outside] = scores[best, outside]
    return chosen


def as_json(found: Calibration, present: RetrieverSettings) -> dict[str, Any]:
    """The result as one document; "settings" are those to change, empty where nothing is worth changing."""
    test = asdict(found.held_out)
    return {
        "helps": found.helps,
        "settings": changed(found, present),
        "present": round(found.present, 6),
        "held_out": round(found.held_out.mean_b, 6),
        "fitted": round(found.fitted, 6),
        "gain": round(found.held_out.difference, 6),
        "ci95": [round(end, 4) for end in found.held_out.ci95],
        "p": test["p"],
        "n": test["n"],
        "metric": METRIC,
    }


def changed(found: Calibration, present: RetrieverSettings) -> dict[str, Any]:
    """The retriever's settings that should change, by name."""
    if not found.helps:
        return {}
    before, after = asdict(present), asdict(found.best)
    return {name: value for name, value in after.items() if value != before[name]}


@dataclass(frozen=True, slots=True)
class _Rankings:
    lexical: Sequence[Ranking]
    dense: Sequence[Ranking]
    source: Mapping[int, str]


def _both(collection: Collection, encoder: Encoder, cases: Sequence[Case], depth: int) -> _Rankings:
    collection.check_encoder(encoder.fingerprint)
    questions = [searched_for(case) for case in cases]
    vectors = encoder.encode(questions, encoder.query_instruction)
    lexical = [collection.lexical.search(question, depth) for question in questions]
    dense = [collection.dense.search(vector, depth) for vector in vectors]
    keys = sorted({key for ranking in [*lexical, *dense] for key, _ in ranking})
    return _Rankings(lexical, dense, {key: stored.source for key, stored in collection.chunks(keys).items()})


def _ndcg(rankings: _Rankings, cases: Sequence[Case], choice: RetrieverSettings) -> list[float]:
    best: dict[str, list[str]] = {}
    for case, lexical, dense in zip(cases, rankings.lexical, rankings.dense, strict=True):
        words, meaning = lexical[: choice.candidates], dense[: choice.candidates]
        if choice.fusion == "rrf":
            fused = rrf([words, meaning], choice.rrf_k, rrf_weights(choice.rrf_dense_weight))
        else:
            fused = convex(words, meaning, choice.dense_weight, choice.normalisation)
        sources = dict.fromkeys(rankings.source[key] for key, _ in fused if key in rankings.source)
        best[case.id] = list(sources)[:CUT]
    scores = score_rankings({case.id: case.relevant for case in cases}, best)[METRIC]
    return [scores[case.id] for case in cases]
