"""How good an encoder in training is: held-out positives found among others."""

from collections.abc import Sequence

import numpy as np
import torch

from indexer.llm2vec.training.pairs import Pair
from indexer.llm2vec.training.student import Student


def dev_figures(student: Student, dev: Sequence[Pair], others: Sequence[str], seed: int) -> dict[str, float]:
    """Find each held-out positive among all held-out ones and as many of the others: nDCG@10, MRR@10, recall@1."""
    if not dev:
        return {}
    picks = np.random.default_rng([seed, 3]).permutation(len(others))[: len(dev)]
    pool = [pair.positive for pair in dev] + [others[pick] for pick in picks]
    with student.evaluating():
        scores = student.encode([pair.anchor for pair in dev], len(dev)) @ student.encode(pool).t()
    own = scores.diagonal().unsqueeze(1)
    return rank_figures(1 + (scores > own).sum(dim=1))


def rank_figures(ranks: torch.Tensor) -> dict[str, float]:
    """Means over queries with one relevant text each, at these ranks (N,) from 1."""
    ranks = ranks.double()
    found = ranks <= 10
    zero = torch.zeros((), dtype=torch.double, device=ranks.device)
    return {
        "dev_ndcg_at_10": round(torch.where(found, 1 / torch.log2(1 + ranks), zero).mean().item(), 4),
        "dev_mrr_at_10": round(torch.where(found, 1 / ranks, zero).mean().item(), 4),
        "dev_recall_at_1": round((ranks == 1).double().mean().item(), 4),
        "dev_pairs": len(ranks),
    }
