"""How far a judge can be trusted: its verdicts beside those of people, with intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.human import Compared
from eval.judge import Verdict

TRUSTED_KAPPA = 0.4  # "moderate" begins here (Landis and Koch 1977); a judge below it is flagged wherever it is used
RESAMPLES = 1000
Judged = Sequence[tuple[Compared, Verdict]]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its bootstrap interval, and the number of pairs it rests on."""

    value: float
    ci95: tuple[float, float]
    n: int


def agreement(judged: Judged, own_model: str = "", seed: int = 0) -> dict[str, Estimate | None]:
    """What the verdicts on pairs say about the judge. A figure that no pair bears on is None.

    - "accuracy": share of pairs with the people's preference, ties included;
    - "accuracy_decided": the same among pairs on which people do prefer one;
    - "kappa": Cohen's kappa over the preferences a, tie, b (Cohen 1960);
    - "spearman": rank correlation of the judge's value with the mean label;
    - "position_consistency": share of pairs judged alike in both orders;
    - "verbosity_bias": how much oftener the judge's preferred answer is the longer one than the people's is;
    - "self_preference": how much oftener than people it prefers an answer of `own_model` against another's.
    """
    own = [(c, v) for c, v in judged if own_model and (own_model in c.model_a) != (own_model in c.model_b)]
    return {
        "accuracy": _estimate(_accuracy, judged, seed),
        "accuracy_decided": _estimate(_accuracy, [(c, v) for c, v in judged if c.preference], seed),
        "kappa": _estimate(_kappa, judged, seed),
        "spearman": _estimate(_spearman, judged, seed),
        "position_consistency": _estimate(_consistency, [(c, v) for c, v in judged if v.consistent is not None], seed),
        "verbosity_bias": _estimate(_verbosity, [(c, v) for c, v in judged if c.b_is_longer_by], seed),
        "self_preference": _estimate(lambda some: _self_preference(some, own_model), own, seed),
    }


def between_people(compared: Sequence[Compared]) -> dict[str, Estimate | None]:
    """The same figures for one person as the judge of another: what can be reached at most."""
    pairs = [
        (Compared(c.pair, c.model_a, c.model_b, (c.labels[0],)), Verdict(int(np.sign(c.labels[1])), c.labels[1]))
        for c in compared
        if len(c.labels) > 1
    ]
    figures = agreement(pairs)
    return {name: figures[name] for name in ("accuracy", "accuracy_decided", "kappa", "spearman")}


def cohen_kappa(a: Sequence[int], b: Sequence[int]) -> float:
    """Agreement beyond chance (Cohen 1960); 0 where both always say the same, and nothing can be told."""
    first, second = np.asarray(a), np.asarray(b)
    observed = float((first == second).mean())
    chance = sum(float((first == label).mean()) * float((second == label).mean()) for label in set(a) | set(b))
    return (observed - chance) / (1 - chance) if chance < 1 else 0.0


def is_trusted(figures: Mapping[str, Estimate | None]) -> bool:
    """Whether a judge agrees with people well enough to be used without a warning."""
    kappa = figures["kappa"]
    return kappa is not None and kappa.value >= TRUSTED_KAPPA


def _estimate(measure: Callable[[Judged], float | None], judged: Judged, seed: int) -> Estimate | None:
    value = measure(judged) if judged else None
    if value is None:
        return None
    random = np.random.default_rng(seed)
    drawn = (random.integers(0, len(judged), len(judged)) for _ in range(RESAMPLES))
    values = [again for rows in drawn if (again := measure([judged[row] for row in rows])) is not None]
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(value, (float(low), float(high)), len(judged))


def _accuracy(judged: Judged) -> float:
    return sum(c.preference == v.preference for c, v in judged) / len(judged)


def _kappa(judged: Judged) -> float:
    return cohen_kappa([c.preference for c, _ in judged], [v.preference for _, v in judged])


def _spearman(judged: Judged) -> float | None:
    from scipy.stats import rankdata

    people, judge = (rankdata(values) for values in zip(*((c.value, v.value) for c, v in judged), strict=True))
    if people.std() == 0 or judge.std() == 0:
        return None
    return float(np.corrcoef(people, judge)[0, 1])


def _consistency(judged: Judged) -> float:
    return sum(bool(v.consistent) for _, v in judged) / len(judged)


def _verbosity(judged: Judged) -> float | None:
    judge = [v.preference * c.b_is_longer_by > 0 for c, v in judged if v.preference]
    people = [c.preference * c.b_is_longer_by > 0 for c, v in judged if c.preference]
    return sum(judge) / len(judge) - sum(people) / len(people) if judge and people else None


def _self_preference(judged: Judged, own_model: str) -> float | None:
    def side(compared: Compared) -> int:
        return 1 if own_model in compared.model_b else -1

    judge = [v.preference == side(c) for c, v in judged if v.preference]
    people = [c.preference == side(c) for c, v in judged if c.preference]
    return sum(judge) / len(judge) - sum(people) / len(people) if judge and people else None


def as_json(figures: Mapping[str, Estimate | None]) -> dict[str, Any]:
    """Figures for a document."""
    return {
        name: None
        if figure is None
        else {"value": round(figure.value, 4), "ci95": [round(end, 4) for end in figure.ci95], "n": figure.n}
        for name, figure in figures.items()
    }
