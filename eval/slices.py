"""Parts of the cases on which a run does better or worse than on the rest, with allowance for having looked at many."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from eval.dataset import Case
from eval.statistics import bootstrap_interval, holm

LEAST = 10  # cases in a part and in the rest; fewer say nothing
_ASKING = re.compile(
    r"\b(who|whose|whom|what|which|when|where|why|how (?:many|much|long|far|old|often|fast)|how)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the cases. `p_holm` tests its mean against that of the other cases."""

    name: str
    n: int
    mean: float
    ci95: tuple[float, float]
    rest: float
    p_holm: float


def find_slices(cases: Mapping[str, Case], scores: Mapping[str, float]) -> tuple[Slice, ...]:
    """Split scored cases by kind of question, by length, by number of relevant passages and by place in a conversation.

    The test is of two independent means, exchanged at random (Fisher 1935); Holm's correction is over all parts.
    """
    scored = [cases[id_] for id_ in scores if id_ in cases]
    if not scored:
        return ()
    parts: dict[str, list[float]] = {}
    rests: dict[str, list[float]] = {}
    for name, belongs in _splits(scored).items():
        inside = [scores[case.id] for case in scored if belongs(case)]
        outside = [scores[case.id] for case in scored if not belongs(case)]
        if min(len(inside), len(outside)) >= LEAST:
            parts[name], rests[name] = inside, outside
    p = holm({name: exchange_test(parts[name], rests[name]) for name in parts})
    return tuple(
        Slice(name, len(values), fmean(values), bootstrap_interval(values), fmean(rests[name]), p[name])
        for name, values in parts.items()
    )


def exchange_test(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided p of the difference of two independent means under random exchange of the labels; seeded."""
    import numpy as np
    from scipy.stats import permutation_test

    if set(a) | set(b) == set(a[:1]):
        return 1.0
    tested = permutation_test(
        (np.asarray(a), np.asarray(b)),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        n_resamples=2000,
        vectorized=True,
        rng=np.random.default_rng(0),
        batch=200,
    )
    return float(tested.pvalue)


def _splits(cases: Sequence[Case]) -> dict[str, Callable[[Case], bool]]:
    length = median(len(case.question.split()) for case in cases)
    kinds = sorted({_kind(case) for case in cases})
    splits: dict[str, Callable[[Case], bool]] = {f"asks {kind}": _same(kind) for kind in kinds}
    splits[f"more than {length:g} words"] = lambda case: len(case.question.split()) > length
    splits["one relevant passage"] = lambda case: _hops(case) == 1
    splits["several relevant passages"] = lambda case: _hops(case) > 1
    splits["no answer in the documents"] = lambda case: not case.answerable
    splits["follows other questions"] = lambda case: bool(case.turns)
    return splits


def _same(kind: str) -> Callable[[Case], bool]:
    return lambda case: _kind(case) == kind


def _kind(case: Case) -> str:
    found = _ASKING.search(case.question)
    return " ".join(found[1].lower().split()) if found else "otherwise"


def _hops(case: Case) -> int:
    return sum(grade > 0 for grade in case.relevant.values())
