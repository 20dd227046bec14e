"""The contrastive objective and the distillation of a teacher's similarities."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def info_nce(anchors: Tensor, candidates: Tensor, usable: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of finding the own positive among all candidates (van den Oord et al., 2018).

    `anchors` (B, D) and `candidates` (C, D) are unit rows, and candidate i < B is anchor i's positive; the others
    are further negatives. `usable` (B, C) is false where a candidate must not count as a negative; the own positive
    always counts.
    """
    scores = anchors @ candidates.t() / temperature
    own = torch.eye(*scores.shape, dtype=torch.bool, device=anchors.device)
    scores = scores.masked_fill(~(usable | own), float("-inf"))
    return functional.cross_entropy(scores, torch.arange(len(anchors), device=anchors.device))


def relation_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean KL divergence of each text's similarities to all others from the teacher's: rows (N, D), (N, E) unit."""
    return functional.kl_div(
        _log_relations(student, temperature),
        _log_relations(teacher, temperature),
        reduction="batchmean",
        log_target=True,
    )


def list_kl(
    anchors: Tensor, candidates: Tensor, lists: Sequence[tuple[Sequence[int], Sequence[float]]], temperature: float
) -> Tensor:
    """Mean KL divergence of the student's softmax over an anchor's own list of candidates from a cross-encoder's.

    `anchors` (B, D) and `candidates` (C, D) are unit rows; `lists[i]` names rows of `candidates` and their logits.
    Anchors with fewer than two scored candidates have no order to learn and count for nothing.
    """
    losses = []
    for anchor, (places, logits) in zip(anchors, lists, strict=True):
        if len(places) > 1:
            student = functional.log_softmax(candidates[list(places)] @ anchor / temperature, dim=0)
            teacher = functional.log_softmax(torch.tensor(logits, device=anchor.device), dim=0)
            losses.append(functional.kl_div(student, teacher, reduction="sum", log_target=True))
    return torch.stack(losses).mean()


def _log_relations(vectors: Tensor, temperature: float) -> Tensor:
    others = ~torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    scores = (vectors @ vectors.t() / temperature)[others].view(len(vectors), -1)
    return functional.log_softmax(scores, dim=1)


def usable_negatives(
    anchors: Sequence[str], candidates: Sequence[str], teacher_scores: Tensor | None, false_negative_share: float
) -> Tensor:
    """Say which candidates may serve as an anchor's negatives: (B, C) booleans; candidate i < B is the positive of i.

    Out are all positives of an equal anchor, whichever pair brings that text along, and, with a teacher's scores
    (B, C), what the teacher puts above a share of the own positive's score (Moreira et al., 2024, NV-Retriever).
    """
    answers: defaultdict[str, set[str]] = defaultdict(set)
    for anchor, positive in zip(anchors, candidates[: len(anchors)], strict=True):
        answers[anchor].add(positive)
    usable = torch.tensor([[text not in answers[anchor] for text in candidates] for anchor in anchors])
    if teacher_scores is not None:
        usable &= teacher_scores <= false_negative_share * teacher_scores.diagonal().unsqueeze(1)
    return usable
