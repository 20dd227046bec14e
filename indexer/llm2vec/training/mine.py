"""Hard negatives: texts that look like an answer to words or to vectors, less those that probably are one."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from indexer.encoder import Vectors
from indexer.llm2vec.training.pairs import Pair

Search = Callable[[str, int], Sequence[int]]  # a text and how many: rows of the corpus, best first
Judge = Callable[[str, Sequence[str]], Sequence[float]]  # a cross-encoder: an anchor and texts, one logit each

RRF_K = 60  # Cormack et al., 2009
AT_ONCE_BYTES = 2**26


@dataclass(frozen=True, slots=True)
class MiningSettings:
    """How many, from how many, and how far from the positive."""

    per_pair: int = 4
    candidates: int = 50  # of each of the two searches
    margin: float = 0.95  # what scores above this share of the positive's score is taken for another answer
    judged: int = 12  # candidates that a cross-encoder reads, if there is one


@dataclass(frozen=True, slots=True)
class Rows:
    """Unit rows of the anchors (N, D), their positives (N, D) and the corpus (C, D)."""

    anchors: Vectors
    positives: Vectors
    corpus: Vectors


@dataclass(frozen=True, slots=True)
class Mined:
    """Pairs with their negatives, hardest first, and how many candidates the margin took out."""

    pairs: tuple[Pair, ...]
    left_out: int

    @property
    def negatives(self) -> int:
        """How many negatives all pairs have together."""
        return sum(len(pair.negatives) for pair in self.pairs)


def mine(
    pairs: Sequence[Pair],
    corpus: Sequence[str],
    lexical: Search,
    rows: Rows,
    settings: MiningSettings,
    judge: Judge | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Mined:
    """Give each pair up to `per_pair` texts of the corpus that BM25 or the vectors rank high.

    Known answers are no negatives: every positive of an equal anchor. Nor is what scores above `margin` times the
    positive's score (NV-Retriever, Moreira et al., 2024, "TopK-PercPos"), by cosine and, with a judge, by the
    sigmoid of its logit; its logits then stay with the pair for distillation. Negatives that a pair brings are kept.
    """
    answers: defaultdict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        answers[pair.anchor] |= {pair.positive, pair.anchor}
    mined, left_out = [], 0
    for index, (pair, scores) in enumerate(zip(pairs, _scores(rows), strict=True)):
        limit = below(float(rows.anchors[index] @ rows.positives[index]), settings.margin)
        ranked = _ranked(lexical(pair.anchor, settings.candidates), scores, settings.candidates)
        texts = {corpus[row]: row for row in reversed(ranked)}  # of equal texts the best place counts
        fresh = [text for text in reversed(texts) if text not in answers[pair.anchor] and text not in pair.negatives]
        chosen = [text for text in fresh if scores[texts[text]] <= limit]
        left_out += len(fresh) - len(chosen)
        if judge:
            pair, dropped = _judged(pair, chosen[: settings.judged], judge, settings)
            left_out += dropped
        else:
            pair = replace(pair, negatives=(*pair.negatives, *chosen)[: settings.per_pair])
        mined.append(pair)
        if on_progress:
            on_progress(index + 1)
    return Mined(tuple(mined), left_out)


def below(positive: float, margin: float) -> float:
    """The highest score of a negative beside a positive of this score: a share of it, and lower also if it is < 0."""
    return positive * margin if positive >= 0 else positive / margin


def _judged(pair: Pair, texts: Sequence[str], judge: Judge, settings: MiningSettings) -> tuple[Pair, int]:
    """Keep what the judge does not take for an answer; the pair's own negatives stay whatever it says."""
    candidates = [*pair.negatives, *texts]
    logits = [float(score) for score in judge(pair.anchor, [pair.positive, *candidates])]
    limit = below(_sigmoid(logits[0]), settings.margin)
    kept = [
        (text, logit)
        for place, (text, logit) in enumerate(zip(candidates, logits[1:], strict=True))
        if place < len(pair.negatives) or _sigmoid(logit) <= limit
    ]
    best = kept[: settings.per_pair]
    scores = (logits[0], *(logit for _, logit in best))
    return replace(pair, negatives=tuple(text for text, _ in best), scores=scores), len(candidates) - len(kept)


def _sigmoid(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


def _scores(rows: Rows) -> Iterator[Vectors]:
    """Cosines (C,) of one anchor after the other, computed in blocks."""
    size = max(1, AT_ONCE_BYTES // max(1, 4 * len(rows.corpus)))
    for start in range(0, len(rows.anchors), size):
        yield from rows.anchors[start : start + size] @ rows.corpus.T


def _ranked(lexical: Sequence[int], scores: Vectors, k: int) -> list[int]:
    """Join both rankings by reciprocal rank, best first, ties by row."""
    near = np.argpartition(-scores, k)[:k] if len(scores) > k else np.arange(len(scores))
    dense = [int(row) for row in near[np.lexsort((near, -scores[near]))]]
    fused: defaultdict[int, float] = defaultdict(float)
    for ranking in (lexical, dense):
        for rank, row in enumerate(ranking, start=1):
            fused[row] += 1 / (RRF_K + rank)
    return sorted(fused, key=lambda row: (-fused[row], row))
