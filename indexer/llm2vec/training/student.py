"""The model that learns: texts in, unit rows out, and their gradients back through it in pieces that fit memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from indexer.errors import ModelError
from indexer.llm2vec.batches import batches_by_length, pad_right
from indexer.llm2vec.loading import load_bidirectional, pick_device, pick_dtype
from indexer.llm2vec.pooling import Pooling, pool
from indexer.llm2vec.tokens import load_tokenizer, tokenize
from indexer.llm2vec.training.lora import add_lora, load_adapter
from indexer.llm2vec.training.settings import RunSettings

Losses = Mapping[str, Tensor]  # "loss" is what is minimised; the others are for the log


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Texts of one forward pass: which `rows` of the batch they are, and tokens (B, T) as `pad_right` gives them."""

    rows: list[int]
    ids: Tensor
    seen: Tensor | None
    own: Tensor


class Student:
    """A bidirectional decoder with LoRA."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        max_tokens: int,
        micro_tokens: int,
        pooling: Pooling = "mean",
        instruction: str = "",
    ) -> None:
        self.model = model
        self.micro_tokens = micro_tokens
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._pooling = pooling
        self._instruction = instruction

    def encode(self, texts: Sequence[str], asking: int = 0) -> Tensor:
        """Encode to unit rows (len(texts), D) in fp32; the first `asking` texts are behind the instruction."""
        micros = self.micro_batches(texts, asking)
        return _in_order(micros, [self._vectors(micro) for micro in micros])

    def backward(
        self, texts: Sequence[str], losses_of: Callable[[Tensor], Losses], cached: bool, asking: int = 0
    ) -> Losses:
        """Add the gradients of a loss over all the texts' rows (N, D), and give the losses.

        `cached` is gradient caching (Gao et al., 2021, arXiv:2101.06983): the same gradients with the memory of one
        micro-batch, for a second forward pass. Dropout masks of the first pass are drawn again in the second.
        """
        if not cached:
            losses = losses_of(self.encode(texts, asking))
            losses["loss"].backward()  # type: ignore[no-untyped-call]
            return losses
        micros, parts, states = self.micro_batches(texts, asking), [], []
        for micro in micros:
            states.append(_random_state(self.model.device))
            with torch.no_grad():
                parts.append(self._vectors(micro))
        rows = _in_order(micros, parts).requires_grad_()
        losses = losses_of(rows)
        [gradient] = torch.autograd.grad(losses["loss"], [rows])
        for micro, state in zip(micros, states, strict=True):
            _set_random_state(self.model.device, state)
            self._vectors(micro).backward(gradient[micro.rows])  # type: ignore[no-untyped-call]
        return losses

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """No dropout and no gradients inside."""
        self.model.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.model.train()

    def micro_batches(self, texts: Sequence[str], asking: int = 0) -> list[MicroBatch]:
        """Group texts of similar length, each group small enough for one forward pass."""
        tokenized = tokenize(self._tokenizer, texts[:asking], self._instruction, self._max_tokens)
        tokenized += tokenize(self._tokenizer, texts[asking:], "", self._max_tokens)
        lengths = [len(text.ids) for text in tokenized]
        return [
            MicroBatch(rows, *pad_right([tokenized[row] for row in rows], self.model.device))
            for rows in batches_by_length(lengths, self.micro_tokens)
        ]

    def _vectors(self, micro: MicroBatch) -> Tensor:
        states = self.model(input_ids=micro.ids, attention_mask=micro.seen).last_hidden_state
        return functional.normalize(pool(states, micro.own, self._pooling), dim=1)


def new_student(settings: RunSettings) -> Student:
    """Load the base model with fresh LoRA parameters, or with those of `settings.start`, in training mode.

    Raises:
        ModelError: the model or the adapter cannot be loaded, or the model takes no attention dropout.
    """
    device = pick_device("auto")
    loaded = load_bidirectional(
        settings.model_dir, layers=settings.layers, attention_dropout=settings.attention_dropout
    )
    if getattr(loaded.config, "attention_dropout", 0.0) != settings.attention_dropout:
        raise ModelError(
            f"{type(loaded).__name__} has no attention dropout, and SimCSE needs it.", "Train another base model."
        )
    model = loaded.to(device=device, dtype=pick_dtype("auto", device))
    if device.type == "cpu":
        model.set_attn_implementation("eager")  # the fused backward pass is the slower one on short texts
    model = add_lora(model, rank=settings.rank, alpha=settings.alpha, base_name=settings.base_name).train()
    if settings.start:
        load_adapter(model, settings.start)
    return Student(
        model,
        load_tokenizer(settings.model_dir),
        settings.max_tokens,
        settings.micro_tokens,
        settings.pooling,
        settings.query_instruction,
    )


def _in_order(micros: Sequence[MicroBatch], parts: Sequence[Tensor]) -> Tensor:
    order = torch.tensor([row for micro in micros for row in micro.rows])
    return torch.cat(list(parts))[order.argsort().to(parts[0].device)]


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
