"""The contrastive stage: a bidirectional decoder learns that an anchor and its positive belong together."""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor
from torch.nn import functional

from indexer.encoder import Vectors
from indexer.errors import ConfigError
from indexer.llm2vec.encoder import batches_by_length, pad_right
from indexer.llm2vec.loading import load_bidirectional, pick_device, pick_dtype
from indexer.llm2vec.merge import write_encoder_config
from indexer.llm2vec.pooling import pool
from indexer.llm2vec.tokens import load_tokenizer, tokenize
from indexer.llm2vec.training.card import write_card
from indexer.llm2vec.training.checkpoint import Position, load_checkpoint, save_checkpoint
from indexer.llm2vec.training.lora import add_lora, lora_parameters, save_adapter
from indexer.llm2vec.training.loss import info_nce, relation_kl, usable_negatives
from indexer.llm2vec.training.pairs import Pair, batches, by_source, cap_sources, hold_out, read_pairs
from indexer.llm2vec.training.schedule import progress, rate_share
from indexer.llm2vec.training.settings import ContrastiveSettings
from indexer.llm2vec.training.teacher import Teacher

logger = logging.getLogger(__name__)


class Student:
    """The model that learns: texts in, unit rows out, with gradients when they are wanted."""

    def __init__(self, model: Any, tokenizer: Any, max_tokens: int, micro_tokens: int) -> None:
        self.model = model
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._micro_tokens = micro_tokens

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Encode to unit rows (len(texts), D) in fp32, mean-pooled."""
        tokenized = tokenize(self._tokenizer, texts, "", self._max_tokens)
        parts, order = [], []
        for rows in batches_by_length([len(text.ids) for text in tokenized], self._micro_tokens):
            ids, seen, own = pad_right([tokenized[row] for row in rows], self.model.device)
            states = self.model(input_ids=ids, attention_mask=seen).last_hidden_state
            parts.append(pool(states, own, "mean"))
            order += rows
        back = torch.tensor(order).argsort().to(parts[0].device)
        return functional.normalize(torch.cat(parts)[back], dim=1)


def train_contrastive(settings: ContrastiveSettings, command: str = "") -> dict[str, float]:
    """Train, or go on with, the run in `settings.out`; leave the adapter and its model card there.

    `command` is what the model card tells others to type.

    Raises:
        ConfigError: neither steps nor a time budget is given, or another run writes to the same folder.
        DatasetError, ModelError: the pairs or a model cannot be read.
    """
    if not settings.max_steps and not settings.budget_s:
        raise ConfigError("A run needs an end.", "Give a number of steps or a time budget.")
    settings.out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(settings.out / "run.lock", timeout=0):
            return _train(settings, command)
    except Timeout as error:
        raise ConfigError(
            f"Another run is writing to {settings.out}.", "Wait for it, or name another folder."
        ) from error


def _train(settings: ContrastiveSettings, command: str) -> dict[str, float]:
    torch.manual_seed(settings.seed)
    given = cap_sources(read_pairs(settings.pairs), dict(settings.caps), settings.seed)
    pairs, dev = hold_out(given, settings.dev_pairs, settings.seed)
    teacher = Teacher(settings.teacher_dir) if settings.teacher_dir else None
    student = _new_student(settings)
    learned = [parameter for _, parameter in lora_parameters(student.model)]
    optimizer = torch.optim.AdamW(learned, settings.learning_rate, weight_decay=0.0)
    position = load_checkpoint(settings.out, student.model, optimizer)
    order = islice(_plan(pairs, teacher, settings), position.step, None)
    position = _run(student, teacher, optimizer, order, position, settings)
    save_adapter(student.model, settings.out)
    write_encoder_config(settings.out, settings.layers)
    figures = {"steps": position.step, "elapsed_s": round(position.elapsed_s, 1)}
    figures |= dev_figures(student, dev, pairs, settings.seed)
    _log(settings.out, figures)
    write_card(settings, pairs, figures, command)
    return figures


def _new_student(settings: ContrastiveSettings) -> Student:
    device = pick_device("auto")
    model = load_bidirectional(settings.model_dir, layers=settings.layers).to(
        device=device, dtype=pick_dtype("auto", device)
    )
    if device.type == "cpu":
        model.set_attn_implementation("eager")  # the fused backward pass is the slower one on short texts
    model = add_lora(model, rank=settings.rank, alpha=settings.alpha, base_name=settings.base_name).train()
    return Student(model, load_tokenizer(settings.model_dir), settings.max_tokens, settings.micro_tokens)


def _plan(pairs: Sequence[Pair], teacher: Teacher | None, settings: ContrastiveSettings) -> Iterator[list[Pair]]:
    groups = by_source(pairs)
    vectors: dict[str, Vectors] = {}
    if teacher:
        vectors = {name: teacher.encode([pair.anchor for pair in group]).numpy() for name, group in groups.items()}
    return batches(
        groups,
        vectors,
        batch_pairs=settings.batch_pairs,
        neighbourhoods=settings.neighbourhoods,
        seed=settings.seed,
    )


def _run(
    student: Student,
    teacher: Teacher | None,
    optimizer: torch.optim.Optimizer,
    order: Iterator[list[Pair]],
    position: Position,
    settings: ContrastiveSettings,
) -> Position:
    started = time.monotonic() - position.elapsed_s
    saved_s = position.elapsed_s
    while (done := progress(position.step, position.elapsed_s, settings.max_steps, settings.budget_s)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate_share(done, settings.warmup_share)
        losses = train_step(student, teacher, optimizer, next(order), settings)
        position = Position(position.step + 1, time.monotonic() - started)
        done = progress(position.step, position.elapsed_s, settings.max_steps, settings.budget_s)
        left_s = position.elapsed_s / done * (1 - done)
        times = {"elapsed_s": round(position.elapsed_s, 1), "eta_s": round(left_s)}
        _log(settings.out, {**losses, "step": position.step, **times})
        if position.elapsed_s - saved_s >= settings.checkpoint_every_s:
            save_checkpoint(settings.out, student.model, optimizer, position)
            saved_s = position.elapsed_s
    save_checkpoint(settings.out, student.model, optimizer, position)
    return position


def train_step(
    student: Student,
    teacher: Teacher | None,
    optimizer: torch.optim.Optimizer,
    batch: Sequence[Pair],
    settings: ContrastiveSettings,
) -> dict[str, float | str]:
    """Take one optimizer step on one batch and give its losses."""
    anchors, positives = [pair.anchor for pair in batch], [pair.positive for pair in batch]
    size = len(batch)
    rows = student.encode(anchors + positives)
    known = teacher.encode(anchors + positives).to(rows.device) if teacher else None
    scores = known[:size] @ known[size:].t() if known is not None else None
    usable = usable_negatives(anchors, positives, scores, settings.false_negative_share)
    contrast = info_nce(rows[:size], rows[size:], usable.to(rows.device), settings.temperature)
    distill = relation_kl(rows, known, settings.distill_temperature) if known is not None else torch.zeros(())
    (contrast + settings.distill_weight * distill).backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_([p for _, p in lora_parameters(student.model)], settings.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {
        "source": batch[0].source,
        "contrast": round(contrast.item(), 4),
        "distill": round(distill.item(), 4),
        "grad_norm": round(norm.item(), 3),
    }


def dev_figures(student: Student, dev: Sequence[Pair], others: Sequence[Pair], seed: int) -> dict[str, float]:
    """Find each held-out positive among all held-out ones and as many others: MRR@10 and recall@1."""
    if not dev:
        return {}
    picks = np.random.default_rng([seed, 3]).permutation(len(others))[: len(dev)]
    pool_texts = [pair.positive for pair in dev] + [others[pick].positive for pick in picks]
    with torch.inference_mode():
        scores = student.encode([pair.anchor for pair in dev]) @ student.encode(pool_texts).t()
    own = scores.diagonal().unsqueeze(1)
    ranks = 1 + (scores > own).sum(dim=1).float()
    reciprocal = torch.where(ranks <= 10, 1 / ranks, torch.zeros(()))
    return {
        "dev_mrr_at_10": round(reciprocal.mean().item(), 4),
        "dev_recall_at_1": round((ranks == 1).float().mean().item(), 4),
        "dev_pairs": float(len(dev)),
    }


def _log(folder: Path, row: dict[str, Any]) -> None:
    with (folder / "log.jsonl").open("a") as stream:
        stream.write(json.dumps(row) + "\n")
    logger.info("%s", " ".join(f"{key}={value}" for key, value in row.items()))
