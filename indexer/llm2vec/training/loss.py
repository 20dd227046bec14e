"""The contrastive objective and the distillation of a teacher's similarities."""

import torch
from torch import Tensor
from torch.nn import functional


def info_nce(anchors: Tensor, positives: Tensor, usable: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of finding the own positive among the batch (van den Oord et al., 2018).

    `anchors`, `positives` (B, D) are unit rows; `usable` (B, B) is false where a positive of another pair
    must not count as a negative. The own positive always counts.
    """
    scores = anchors @ positives.t() / temperature
    own = torch.eye(len(anchors), dtype=torch.bool, device=anchors.device)
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


def _log_relations(vectors: Tensor, temperature: float) -> Tensor:
    others = ~torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    scores = (vectors @ vectors.t() / temperature)[others].view(len(vectors), -1)
    return functional.log_softmax(scores, dim=1)


def usable_negatives(
    anchors: list[str], positives: list[str], teacher_scores: Tensor | None, false_negative_share: float
) -> Tensor:
    """Say which positives may serve as another pair's negatives: (B, B) booleans.

    Out are positives of an equal anchor, equal positives, and, with a teacher's scores (B, B), those which the
    teacher puts above a share of the own positive's score (Moreira et al., 2024, NV-Retriever).
    """
    same = [
        [a == b or p == q for b, q in zip(anchors, positives, strict=True)]
        for a, p in zip(anchors, positives, strict=True)
    ]
    usable = ~torch.tensor(same)
    if teacher_scores is not None:
        usable &= teacher_scores <= false_negative_share * teacher_scores.diagonal().unsqueeze(1)
    return usable
