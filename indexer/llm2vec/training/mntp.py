"""Masked next-token prediction: the stage that teaches a decoder to use what comes after a token."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from indexer.errors import DatasetError, ModelError
from indexer.llm2vec.batches import batches_by_length, pad_right
from indexer.llm2vec.tokens import TokenizedText, load_tokenizer
from indexer.llm2vec.training.masking import NO_TARGET, Masked, Masking, Tokens, cut, mask, mask_id
from indexer.llm2vec.training.pairs import fingerprint, row_batches
from indexer.llm2vec.training.run import Figures, Report, train
from indexer.llm2vec.training.settings import MntpSettings
from indexer.llm2vec.training.student import Student
from indexer.llm2vec.training.texts import Texts


def train_mntp(settings: MntpSettings, data: Texts, command: str = "", report: Report | None = None) -> Figures:
    """Train with masked next-token prediction (BehnamGhader et al., 2024, section 2.2); see `run.train`."""
    return train(settings, lambda started: prepare(started, data), command, report)


def prepare(settings: MntpSettings, data: Texts) -> "Mntp":
    """Tokenise and hold some out."""
    tokenizer = load_tokenizer(settings.model_dir)
    sequences = cut(tokenizer, data.texts, settings.max_tokens)
    order = np.random.default_rng([settings.seed, 4]).permutation(len(sequences))
    held = min(settings.dev_texts, len(sequences) // 10)
    if not sequences:
        raise DatasetError("No text has two tokens or more.", "Give more text.")
    masking = Masking(
        mask_id(tokenizer),
        tokenizer.get_vocab_size(),
        settings.mask_share,
        settings.random_share,
        settings.unchanged_share,
    )
    return Mntp(
        settings,
        data,
        masking,
        load_head(settings.model_dir),
        tuple(sequences[row] for row in sorted(order[held:])),
        tuple(sequences[row] for row in order[:held]),
    )


@dataclass(frozen=True, slots=True)
class Head:
    """The language-model head: weight (V, D), or None where it is the input embeddings; Gemma 2 caps its logits."""

    weight: Tensor | None
    cap: float | None


def load_head(model_dir: Path) -> Head:
    """Read the head that belongs to a model that `load_bidirectional` loads without it.

    Raises:
        ModelError: it is neither tied nor stored.
    """
    from safetensors import safe_open
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model_dir, local_files_only=True, trust_remote_code=False)
    cap = getattr(config, "final_logit_softcapping", None)
    if config.tie_word_embeddings:
        return Head(None, cap)
    for file in sorted(model_dir.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            if "lm_head.weight" in tensors.keys():  # noqa: SIM118 - it is no mapping
                return Head(tensors.get_tensor("lm_head.weight"), cap)
    raise ModelError(f"{model_dir} has no language-model head.", "Name the folder of a whole decoder.")


@dataclass(frozen=True, slots=True)
class Mntp:
    """A run.Stage."""

    settings: MntpSettings
    texts: Texts
    masking: Masking
    head: Head
    learned: tuple[Tokens, ...]
    held_out: tuple[Tokens, ...]
    name: str = "mntp"

    def data(self) -> Figures:
        """Where the texts are from and how many pieces they make."""
        count = len(self.learned) + len(self.held_out)
        return {
            "from": self.texts.origin,
            "unit": "texts",
            "sources": {self.texts.origin: count},
            "tokens": sum(len(one.ids) for one in (*self.learned, *self.held_out)),
            "left_out": list(self.texts.left_out),
            "sha256": fingerprint(self.texts.texts),
        }

    def order(self) -> Iterator[list[Masked]]:
        """Each text once a pass, masked anew each time."""
        rows = row_batches(len(self.learned), self.settings.batch_texts, self.settings.seed)
        for step, batch in enumerate(rows):
            rng = np.random.default_rng([self.settings.seed, 5, step])
            yield [mask(self.learned[row], self.masking, rng) for row in batch]

    def gradients(self, student: Student, batch: Sequence[Masked]) -> Figures:
        """Mean cross-entropy over the masked tokens of the batch."""
        total = sum(target != NO_TARGET for text in batch for target in text.targets)
        summed = 0.0
        for part in _parts(batch, student.micro_tokens):
            loss = self._summed_loss(student, part) / total
            loss.backward()  # type: ignore[no-untyped-call]
            summed += loss.item()
        return {"loss": round(summed, 4), "masked": total, "tokens": sum(len(text.ids) for text in batch)}

    def dev(self, student: Student) -> Figures:
        """Mean cross-entropy on the held-out texts, masked the same way each time."""
        rng = np.random.default_rng([self.settings.seed, 6])
        texts = [mask(one, self.masking, rng) for one in self.held_out]
        if not texts:
            return {}
        total = sum(target != NO_TARGET for text in texts for target in text.targets)
        with student.evaluating():
            summed = sum(self._summed_loss(student, part).item() for part in _parts(texts, student.micro_tokens))
        return {"dev_loss": round(summed / total, 4), "dev_texts": len(texts)}

    def _summed_loss(self, student: Student, texts: Sequence[Masked]) -> Tensor:
        rows = [TokenizedText(text.ids, len(text.ids), False) for text in texts]
        ids, seen, _ = pad_right(rows, student.model.device)
        targets = torch.full_like(ids, NO_TARGET)
        for row, text in enumerate(texts):
            targets[row, : len(text.targets)] = torch.tensor(text.targets)
        states = student.model(input_ids=ids, attention_mask=seen).last_hidden_state  # (B, T, D)
        weight = student.model.get_input_embeddings().weight if self.head.weight is None else self.head.weight
        return summed_mntp_loss(states, weight.to(states.device, states.dtype), targets, self.head.cap)


def summed_mntp_loss(states: Tensor, head: Tensor, targets: Tensor, cap: float | None = None) -> Tensor:
    """Sum of the cross-entropies of the masked tokens, each predicted from the state one position before it.

    `states` (B, T, D), `head` (V, D), `targets` (B, T) with NO_TARGET where nothing is masked. A target at position
    0 would have no state before it and counts for nothing.
    """
    wanted = targets[:, 1:]  # (B, T - 1), beside states[:, :-1]
    masked = wanted != NO_TARGET
    logits = (states[:, :-1][masked] @ head.t()).float()  # (M, V)
    if cap:
        logits = cap * torch.tanh(logits / cap)
    return functional.cross_entropy(logits, wanted[masked], reduction="sum")


def _parts(texts: Sequence[Masked], micro_tokens: int) -> Iterator[list[Masked]]:
    for rows in batches_by_length([len(text.ids) for text in texts], micro_tokens):
        yield [texts[row] for row in rows]
