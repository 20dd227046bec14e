"""How probable it is that the documents do not say, when a model behind a server has answered all the same."""

import math
from dataclasses import dataclass

from generator.align import coverages
from generator.answer import Answer


@dataclass(frozen=True, slots=True)
class DoubtSettings:
    """Weights of a logistic regression over four signs, and when to decline; `footnote eval calibrate --abstention`."""

    bias: float = 0.0  # log-odds that there is no answer, where every sign is 0
    coverage: float = 0.0
    dense: float = 0.0
    support: float = 0.0
    log_p: float = 0.0
    typical_log_p: float = 0.0  # taken where the model does not tell how sure it was
    decline_above: float = 1.0  # decline when it is more probable than this that there is no answer


@dataclass(frozen=True, slots=True)
class Signs:
    """What speaks for an answer."""

    coverage: float  # 0..1: share of the question's words in the cited passage that has the most of them
    dense: float  # cosine of the question and the nearest cited passage; 0 where the search was by words alone
    support: float  # 0..1: mean over the citations
    log_p: float | None  # mean log-probability of a written token, in nats; None where the model does not tell


def signs_of(answer: Answer) -> Signs | None:
    """The signs of an answer; None of a declined one, which has no citation."""
    if not answer.citations:
        return None
    evidence = {hit.chunk.id for hit in answer.evidence}
    spoken = coverages(answer.query, [hit.chunk.text for hit in answer.hits])
    near = [hit.parts["dense"].score for hit in answer.evidence if "dense" in hit.parts]
    return Signs(
        coverage=max(
            (share for hit, share in zip(answer.hits, spoken, strict=True) if hit.chunk.id in evidence), default=0.0
        ),
        dense=max(near, default=0.0),
        support=math.fsum(citation.support for citation in answer.citations) / len(answer.citations),
        log_p=answer.log_p_token,
    )


def doubt_of(signs: Signs, settings: DoubtSettings) -> float:
    """Probability, 0 to 1, that the documents do not hold the answer."""
    log_p = settings.typical_log_p if signs.log_p is None else signs.log_p
    odds = settings.bias + settings.coverage * signs.coverage + settings.dense * signs.dense
    odds += settings.support * signs.support + settings.log_p * log_p
    return 1 / (1 + math.exp(-max(-500.0, min(500.0, odds))))
