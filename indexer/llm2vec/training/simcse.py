"""Unsupervised SimCSE: a text is its own positive, told apart from itself only by dropout."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from indexer.errors import DatasetError
from indexer.llm2vec.training.dev import dev_figures
from indexer.llm2vec.training.loss import info_nce, usable_negatives
from indexer.llm2vec.training.pairs import Pair, fingerprint, read_pairs, row_batches
from indexer.llm2vec.training.run import Figures, Report, train
from indexer.llm2vec.training.settings import SimcseSettings
from indexer.llm2vec.training.student import Losses, Student
from indexer.llm2vec.training.texts import Texts

LEAST_WORDS = 8  # a held-out text is found by its other half, and a half of less says nothing


def train_simcse(settings: SimcseSettings, data: Texts, command: str = "", report: Report | None = None) -> Figures:
    """Train with unsupervised SimCSE (Gao et al., 2021, arXiv:2104.08821); see `run.train`."""
    return train(settings, lambda started: _prepare(started, data), command, report)


def _prepare(settings: SimcseSettings, data: Texts) -> "Simcse":
    if settings.dev_file:
        dev = read_pairs(settings.dev_file)[: settings.dev_pairs]
        known = {text for pair in dev for text in (pair.anchor, pair.positive)}
        learned = [text for text in data.texts if text not in known]
    else:
        order = np.random.default_rng([settings.seed, 4]).permutation(len(data.texts))
        held = order[: min(settings.dev_pairs, len(data.texts) // 10)]
        dev = [pair for row in held if (pair := halves(data.texts[row]))]
        out = {data.texts[row] for row in held}
        learned = [text for text in data.texts if text not in out]
    if len(learned) < 2:
        raise DatasetError(f"SimCSE needs two texts to tell apart, and has {len(learned)}.", "Give more text.")
    return Simcse(settings, data, tuple(learned), tuple(dev))


def halves(text: str) -> Pair | None:
    """The first half of a text's words as what is looked for, the second as what is to be found."""
    words = text.split()
    if len(words) < LEAST_WORDS:
        return None
    middle = len(words) // 2
    return Pair(" ".join(words[:middle]), " ".join(words[middle:]), "halves")


@dataclass(frozen=True, slots=True)
class Simcse:
    """A run.Stage."""

    settings: SimcseSettings
    texts: Texts
    learned: tuple[str, ...]
    held_out: tuple[Pair, ...]
    name: str = "simcse"

    def data(self) -> Figures:
        """Where the texts are from and how many there are."""
        return {
            "from": self.texts.origin,
            "unit": "texts",
            "sources": {self.texts.origin: len(self.texts.texts)},
            "left_out": list(self.texts.left_out),
            "sha256": fingerprint(self.texts.texts),
        }

    def order(self) -> Iterator[list[str]]:
        """Each text once a pass."""
        for rows in row_batches(len(self.learned), self.settings.batch_texts, self.settings.seed):
            yield [self.learned[row] for row in rows]

    def gradients(self, student: Student, batch: Sequence[str]) -> Figures:
        """Contrast two encodings of each text, which differ by their dropout masks alone."""

        def losses_of(rows: Tensor) -> Losses:
            return {"loss": simcse_loss(batch, rows, self.settings.temperature)}

        losses = student.backward([*batch, *batch], losses_of, self.settings.grad_cache)
        return {"loss": round(losses["loss"].item(), 4)}

    def dev(self, student: Student) -> Figures:
        """Find the other half of held-out texts, or the positives of the pairs in `dev_file`."""
        return dev_figures(student, self.held_out, self.learned, self.settings.seed)


def simcse_loss(texts: Sequence[str], rows: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of finding the second encoding of a text by the first: `rows` (2B, D), all firsts before."""
    usable = usable_negatives(texts, texts, None, 1.0).to(rows.device)
    first, second = torch.chunk(rows, 2)
    return info_nce(first, second, usable, temperature)
