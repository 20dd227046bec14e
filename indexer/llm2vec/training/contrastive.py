"""The contrastive stage: a bidirectional decoder learns that an anchor and its positive belong together."""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import torch
from torch import Tensor

from indexer.encoder import Encoder, Vectors
from indexer.errors import DatasetError
from indexer.llm2vec.training.dev import dev_figures
from indexer.llm2vec.training.loss import info_nce, list_kl, relation_kl, usable_negatives
from indexer.llm2vec.training.pairs import (
    Pair,
    batches,
    by_source,
    cap_sources,
    drop_negatives,
    fingerprint,
    hold_out,
    read_pairs,
)
from indexer.llm2vec.training.run import Figures, Report, train
from indexer.llm2vec.training.settings import ContrastiveSettings
from indexer.llm2vec.training.student import Losses, Student
from indexer.sentence_transformer import SentenceTransformer


def train_contrastive(settings: ContrastiveSettings, command: str = "", report: Report | None = None) -> Figures:
    """Train on pairs, with a teacher's similarities beside if one is named; see `run.train`."""
    return train(settings, _prepare, command, report)


def _prepare(settings: ContrastiveSettings) -> "Contrastive":
    given = cap_sources(read_pairs(settings.pairs), dict(settings.caps), settings.seed)
    pairs, dev = hold_out(given, min(settings.dev_pairs, len(given) // 10), settings.seed)
    if not any(len(group) >= 2 for group in by_source(pairs).values()):
        raise DatasetError(
            f"{settings.pairs} has too few pairs to contrast: {len(given)}, and no source with two.", "Give more pairs."
        )
    teacher = SentenceTransformer(settings.teacher_dir, dtype="auto") if settings.teacher_dir else None
    return Contrastive(settings, tuple(given), tuple(pairs), tuple(dev), teacher)


@dataclass(frozen=True, slots=True)
class Contrastive:
    """A run.Stage."""

    settings: ContrastiveSettings
    given: tuple[Pair, ...]
    learned: tuple[Pair, ...]
    held_out: tuple[Pair, ...]
    teacher: Encoder | None
    name: str = "contrastive"

    def data(self) -> Figures:
        """How many pairs of each source there are."""
        return {
            "from": self.settings.pairs.name,
            "unit": "pairs",
            "sources": {name: len(group) for name, group in by_source(self.given).items()},
            "with_negatives": sum(bool(pair.negatives) for pair in self.given),
            "sha256": fingerprint(map(astuple, self.given)),
        }

    def order(self) -> Iterator[list[Pair]]:
        """Batches of one source with similar anchors; each pair keeps as many of its negatives as a step takes."""
        groups = by_source(self.learned)
        vectors: dict[str, Vectors] = {}
        if self.teacher:
            anchors = {name: [pair.anchor for pair in group] for name, group in groups.items()}
            vectors = {name: self.teacher.encode(texts) for name, texts in anchors.items()}
        settings = self.settings
        plan = batches(
            groups,
            vectors,
            batch_pairs=settings.batch_pairs,
            neighbourhoods=settings.neighbourhoods,
            seed=settings.seed,
        )
        for step, batch in enumerate(plan):
            rng = np.random.default_rng([settings.seed, 5, step])
            yield [_draw_negatives(pair, settings.hard_negatives, rng) for pair in batch]

    def gradients(self, student: Student, batch: Sequence[Pair]) -> Figures:
        """Contrast against the batch's other positives and all its negatives, and learn the teacher's similarities."""
        anchors = [pair.anchor for pair in batch]
        candidates = [pair.positive for pair in batch] + [text for pair in batch for text in pair.negatives]
        texts, size = anchors + candidates, len(batch)
        known = torch.from_numpy(self.teacher.encode(texts)) if self.teacher else None
        scores = known[:size] @ known[size:].t() if known is not None else None
        usable = usable_negatives(anchors, candidates, scores, self.settings.false_negative_share)

        lists = _lists(batch)

        def losses_of(rows: Tensor) -> Losses:
            return contrastive_losses(rows, usable, known, lists, self.settings)

        losses = student.backward(texts, losses_of, self.settings.grad_cache, size)
        return {"source": batch[0].source, **{name: round(loss.item(), 4) for name, loss in losses.items()}}

    def dev(self, student: Student) -> Figures:
        """Find held-out positives."""
        return dev_figures(student, self.held_out, [pair.positive for pair in self.learned], self.settings.seed)


def contrastive_losses(
    rows: Tensor,
    usable: Tensor,
    known: Tensor | None,
    lists: Sequence[tuple[list[int], tuple[float, ...]]],
    settings: ContrastiveSettings,
) -> Losses:
    """Losses of a batch of `rows` (B + C, D), anchors first.

    `usable` is (B, C) and `known` (B + C, E) the teacher's unit rows. For anchor i, `lists[i]` names candidates and
    a cross-encoder's logits for them; it is empty where there are none.
    """
    size = len(usable)
    anchors, candidates = rows[:size], rows[size:]
    contrast = info_nce(anchors, candidates, usable.to(rows.device), settings.temperature)
    losses = {"contrast": contrast}
    if known is not None:
        losses["distill"] = relation_kl(rows, known.to(rows.device), settings.distill_temperature)
    if any(len(places) > 1 for places, _ in lists):
        losses["ranking"] = list_kl(anchors, candidates, lists, settings.distill_temperature)
    taught = [loss for name, loss in losses.items() if name != "contrast"]
    total = contrast + settings.distill_weight * torch.stack(taught).sum() if taught else contrast
    return {"loss": total, **losses}


def _lists(batch: Sequence[Pair]) -> list[tuple[list[int], tuple[float, ...]]]:
    """Of each pair with scores, which candidates they are for: its positive, then its negatives."""
    lists = []
    after = len(batch)
    for place, pair in enumerate(batch):
        own = [place, *range(after, after + len(pair.negatives))]
        lists.append((own, pair.scores) if pair.scores else ([], ()))
        after += len(pair.negatives)
    return lists


def _draw_negatives(pair: Pair, most: int, rng: np.random.Generator) -> Pair:
    if len(pair.negatives) <= most:
        return pair
    return drop_negatives(pair, sorted(rng.choice(len(pair.negatives), most, replace=False).tolist()))
