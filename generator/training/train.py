"""One fine-tuning run of the reader: LoRA on every projection, loss on the answer's tokens only."""

import json
import logging
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from generator.reading import ReaderTokenizer, Reading
from generator.training.card import write_card
from generator.training.samples import Distractors, Sample, draw, load_questions, make, split
from indexer.llm2vec.training.checkpoint import Position, load_checkpoint, save_checkpoint
from indexer.llm2vec.training.lora import add_lora, load_adapter, lora_parameters, save_adapter
from indexer.llm2vec.training.schedule import progress, rate_share

logger = logging.getLogger(__name__)

_POOL = 32  # batches whose samples are sorted by length together
_WIDTHS = 32  # batches are padded to multiples of this: every new shape costs the CPU kernels a compilation


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """One run. It ends after `max_steps` or after `budget_s` of training, whichever is given and comes first."""

    model_dir: Path
    questions: Path
    out: Path
    base_name: str = "SmolLM2-135M-Instruct"
    seed: int = 0
    max_steps: int | None = None
    budget_s: float | None = None
    batch: int = 8
    micro_batch: int = 8  # samples a forward pass takes at once: bounds memory, no effect on the loss
    start: Path | None = None  # a reader's adapter to go on from
    first_layer: int = 12  # layers below stay as they are: a third less work a step
    max_tokens: int = 256  # of a passage
    max_answer_tokens: int = 40
    rank: int = 16
    alpha: int = 32
    learning_rate: float = 6e-4
    warmup_share: float = 0.05
    max_grad_norm: float = 1.0
    dev_questions: int = 24
    checkpoint_every_s: float = 480.0


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of input and answer, and where the answer begins."""

    ids: tuple[int, ...]
    answer_at: int


def train(settings: ReaderSettings) -> Path:
    """Train, or go on from the checkpoint in `settings.out`; give the adapter's folder.

    Raises:
        DatasetError: the questions cannot be read.
        ModelError: the adapter to start from is damaged or of another shape.
    """
    torch.manual_seed(settings.seed)
    settings.out.mkdir(parents=True, exist_ok=True)
    tokenizer = ReaderTokenizer(settings.model_dir)
    trained, held = split(load_questions(settings.questions))
    distractors = Distractors(trained)
    dev = _dev_examples(held, distractors, tokenizer, settings)
    model = _model(settings)
    parameters = [parameter for _, parameter in lora_parameters(model)]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0)
    position = load_checkpoint(settings.out, model, optimizer)
    batches = _batches(draw(trained, distractors, settings.seed + position.step), tokenizer, settings)
    began, saved = time.monotonic() - position.elapsed_s, time.monotonic()
    step, running = position.step, 0.0
    while (done := progress(step, time.monotonic() - began, settings.max_steps, settings.budget_s)) < 1:
        _set_rate(optimizer, settings.learning_rate * rate_share(done, settings.warmup_share))
        loss = _step(model, next(batches), optimizer, settings, tokenizer.end)
        step, running = step + 1, loss if step == 0 else 0.95 * running + 0.05 * loss
        if step % 10 == 0:
            _log(settings.out, step=step, elapsed_s=round(time.monotonic() - began, 1), done=done, loss=running)
        if time.monotonic() - saved > settings.checkpoint_every_s:
            saved = time.monotonic()
            save_checkpoint(settings.out, model, optimizer, Position(step, saved - began))
            save_adapter(model, settings.out / "adapter")
            _log(settings.out, step=step, **_dev_loss(model, dev, tokenizer.end))
    elapsed_s = time.monotonic() - began
    save_checkpoint(settings.out, model, optimizer, Position(step, elapsed_s))
    losses = _dev_loss(model, dev, tokenizer.end)
    _log(settings.out, step=step, **losses)
    folder = settings.out / "adapter"
    save_adapter(model, folder)
    write_card(folder, settings, steps=step, elapsed_s=elapsed_s, trained=len(trained), held=len(held), **losses)
    return folder


def example(reading: Reading, sample: Sample, end_token: int, max_answer_tokens: int) -> Example | None:
    """Join input and answer; None when the answer lies behind the cut or is too long to copy."""
    answer: tuple[int, ...] = ()
    if sample.span is not None:
        found = reading.positions(*sample.span)
        if found is None or not 0 <= found[1] - found[0] < max_answer_tokens:
            return None
        answer = tuple(reading.token(p) for p in range(found[0], found[1] + 1))
    return Example((*reading.ids, *answer, end_token), len(reading.ids))


def answer_losses(model: Any, examples: Sequence[Example], pad: int) -> Tensor:
    """Negative log-likelihood of each answer, end mark included: (B,), in fp32.

    Padding stands on the right, where causal attention keeps it from changing anything; logits are made only where
    an answer token is predicted.
    """
    width = -(-max(len(e.ids) for e in examples) // _WIDTHS) * _WIDTHS
    ids = torch.tensor([[*e.ids, *([pad] * (width - len(e.ids)))] for e in examples])  # (B, T)
    rows = [b for b, e in enumerate(examples) for _ in range(e.answer_at, len(e.ids))]
    columns = [t - 1 for e in examples for t in range(e.answer_at, len(e.ids))]
    base = model.base_model.model if hasattr(model, "base_model") and hasattr(model, "peft_config") else model
    hidden = base.model(input_ids=ids, use_cache=False).last_hidden_state  # (B, T, D)
    logits = base.lm_head(hidden[rows, columns]).float()  # (N, V)
    losses = torch.nn.functional.cross_entropy(logits, ids[rows, [c + 1 for c in columns]], reduction="none")
    return torch.zeros(len(examples)).index_add(0, torch.tensor(rows), losses)


def _model(settings: ReaderSettings) -> Any:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        settings.model_dir,
        dtype=torch.bfloat16,
        attn_implementation="sdpa",
        local_files_only=True,
        trust_remote_code=False,
    )
    wrapped = add_lora(model, rank=settings.rank, alpha=settings.alpha, base_name=settings.base_name)
    wrapped.config.is_causal = True
    if settings.start:
        load_adapter(wrapped, settings.start)
    for name, parameter in tuple(lora_parameters(wrapped)):
        parameter.requires_grad = int(name.split(".layers.")[1].split(".")[0]) >= settings.first_layer
    return wrapped.train()


def _dev_examples(
    held: Sequence[Any], distractors: Distractors, tokenizer: ReaderTokenizer, settings: ReaderSettings
) -> tuple[Example, ...]:
    rng = random.Random(1)
    kinds = ("gold", "distractor")
    samples = (make(q, kind, distractors, rng) for q in held[: settings.dev_questions] for kind in kinds)
    return tuple(e for sample in samples if (e := _example(sample, tokenizer, settings)))


def _example(sample: Sample, tokenizer: ReaderTokenizer, settings: ReaderSettings) -> Example | None:
    reading = tokenizer.reading(sample.question, sample.title, sample.passage, settings.max_tokens)
    return example(reading, sample, tokenizer.end, settings.max_answer_tokens)


def _batches(
    samples: Iterator[Sample], tokenizer: ReaderTokenizer, settings: ReaderSettings
) -> Iterator[list[Example]]:
    """Batches of similar length, in random order."""
    rng = random.Random(settings.seed)
    while True:
        pool: list[Example] = []
        while len(pool) < _POOL * settings.batch:
            if found := _example(next(samples), tokenizer, settings):
                pool.append(found)
        pool.sort(key=lambda e: len(e.ids))
        batches = [pool[i : i + settings.batch] for i in range(0, len(pool), settings.batch)]
        yield from rng.sample(batches, len(batches))


def _step(
    model: Any, batch: list[Example], optimizer: torch.optim.Optimizer, settings: ReaderSettings, pad: int
) -> float:
    total = 0.0
    for i in range(0, len(batch), settings.micro_batch):
        loss = answer_losses(model, batch[i : i + settings.micro_batch], pad).sum() / len(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    torch.nn.utils.clip_grad_norm_([p for _, p in lora_parameters(model)], settings.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def _dev_loss(model: Any, dev: Sequence[Example], pad: int) -> dict[str, float]:
    """Mean loss on held-out questions, and how often the mass on declining falls on the right side of one half."""
    losses: list[float] = []
    for i in range(0, len(dev), 16):
        losses += answer_losses(model, dev[i : i + 16], pad).tolist()
    declined = [loss for loss, e in zip(losses, dev, strict=True) if len(e.ids) == e.answer_at + 1]
    answered = [loss for loss, e in zip(losses, dev, strict=True) if len(e.ids) > e.answer_at + 1]
    return {
        "dev_loss_gold": sum(answered) / len(answered),
        "dev_loss_distractor": sum(declined) / len(declined),
        "dev_declined_right": sum(loss < 0.6931 for loss in declined) / len(declined),
    }


def _log(folder: Path, **values: float) -> None:
    with (folder / "log.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(values) + "\n")
    logger.info("%s", values)
