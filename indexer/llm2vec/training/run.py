"""One run of any stage: steps, a log, figures on the way, checkpoints, and the adapter with its card at the end."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol, TypeVar

import torch
from filelock import FileLock, Timeout

from indexer.errors import ConfigError
from indexer.llm2vec.merge import kept_layers, write_encoder_config
from indexer.llm2vec.training.card import write_card
from indexer.llm2vec.training.checkpoint import Position, load_checkpoint, save_checkpoint
from indexer.llm2vec.training.identity import check_identity
from indexer.llm2vec.training.interrupt import Stop, stop_after_the_step
from indexer.llm2vec.training.log import RunLog
from indexer.llm2vec.training.lora import adapter_shape, lora_parameters, save_adapter
from indexer.llm2vec.training.plot import write_curves
from indexer.llm2vec.training.schedule import progress, rate_share
from indexer.llm2vec.training.settings import RunSettings
from indexer.llm2vec.training.student import Student, new_student

logger = logging.getLogger(__name__)

Figures = dict[str, Any]
Batch = TypeVar("Batch")
Settings = TypeVar("Settings", bound=RunSettings)


class Stage(Protocol[Batch]):
    """An objective, and the order in which it takes its data."""

    @property
    def name(self) -> str:
        """What the model card calls it."""

    def data(self) -> Figures:
        """What it trains on, for the card; "sha256" names the texts themselves."""

    def order(self) -> Iterator[Batch]:
        """Give batches without end; the settings and the data decide all of them."""

    def gradients(self, student: Student, batch: Batch) -> Figures:
        """Add the gradients of one batch to the parameters; give its "loss" and what else is worth a log."""

    def dev(self, student: Student) -> Figures:
        """Measure on held-out data; empty when there is none."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run tells its door after each step."""

    step: int
    share: float  # of the run that is done
    left_s: float
    loss: float


Report = Callable[[Progress], None]


def train(
    settings: Settings,
    prepare: Callable[[Settings], Stage[Any]],
    command: str = "",
    report: Report | None = None,
) -> Figures:
    """Run a stage, or go on with its run, in `settings.out`; leave the adapter, its card, log and curves there.

    `prepare` reads the data; `command` is what the model card tells others to type.

    Raises:
        ConfigError: a run has no end, or the folder belongs to another run or is being written to.
        DatasetError, ModelError: the data or a model cannot be read.
        KeyboardInterrupt: on Ctrl-C, after the step and a checkpoint.
    """
    if not settings.max_steps and not settings.budget_s:
        raise ConfigError("A run needs an end.", "Give a number of steps or a time budget.")
    settings.out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(settings.out / "run.lock", timeout=0):
            return _train(_as_started(settings), prepare, command, report)
    except Timeout as error:
        raise ConfigError(
            f"Another run is writing to {settings.out}.", "Wait for it, or name another folder."
        ) from error


def _as_started(settings: Settings) -> Settings:
    """Take rank, alpha and layers from the adapter that the run starts from."""
    if settings.start is None:
        return settings
    rank, alpha = adapter_shape(settings.start)
    return replace(settings, rank=rank, alpha=alpha, layers=kept_layers([settings.start]))


def _train(
    settings: Settings, prepare: Callable[[Settings], Stage[Any]], command: str, report: Report | None
) -> Figures:
    torch.manual_seed(settings.seed)
    stage = prepare(settings)
    check_identity(settings, stage.name, stage.data()["sha256"])
    student = new_student(settings)
    learned = [parameter for _, parameter in lora_parameters(student.model)]
    optimizer = torch.optim.AdamW(learned, settings.learning_rate, weight_decay=0.0)
    position = load_checkpoint(settings.out, student.model, optimizer)
    log = RunLog(settings.out, position.step)
    with stop_after_the_step() as stop:
        position = _steps(stage, student, optimizer, position, settings, log, stop, report)
    save_adapter(student.model, settings.out)
    write_encoder_config(settings.out, settings.layers)
    figures = {"steps": position.step, "elapsed_s": round(position.elapsed_s, 1), **log.last_dev()}
    write_curves(log.rows, settings.out / "curves.svg", f"{settings.base_name}, {stage.name}")
    write_card(settings, stage.name, stage.data(), figures, command)
    return figures


def _steps(
    stage: Stage[Batch],
    student: Student,
    optimizer: torch.optim.Optimizer,
    position: Position,
    settings: RunSettings,
    log: RunLog,
    stop: Stop,
    report: Report | None,
) -> Position:
    order = islice(stage.order(), position.step, None)
    started = time.monotonic() - position.elapsed_s
    saved_s = position.elapsed_s
    if position.step == 0:
        _measure(stage, student, 0, log)
    while (done := _done(position, settings)) < 1:
        losses = take_step(stage, student, optimizer, next(order), done, settings)
        position = Position(position.step + 1, time.monotonic() - started)
        done = _done(position, settings)
        left_s = position.elapsed_s / done * (1 - done)
        times = {"elapsed_s": round(position.elapsed_s, 1), "eta_s": round(left_s)}
        log.add({**losses, "step": position.step, **times})
        if report:
            report(Progress(position.step, done, left_s, losses["loss"]))
        if position.step % settings.dev_every_steps == 0 or done >= 1:
            _measure(stage, student, position.step, log)
        if stop.asked or done >= 1 or position.elapsed_s - saved_s >= settings.checkpoint_every_s:
            save_checkpoint(settings.out, student.model, optimizer, position)
            write_curves(log.rows, settings.out / "curves.svg", f"{settings.base_name}, {stage.name}")
            saved_s = position.elapsed_s
        if stop.asked and done < 1:
            raise KeyboardInterrupt
    return position


def take_step(
    stage: Stage[Batch],
    student: Student,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    done: float,
    settings: RunSettings,
) -> Figures:
    """Take one optimizer step on one batch, `done` of the way through the run, and give its losses."""
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * rate_share(done, settings.warmup_share)
    losses = stage.gradients(student, batch)
    norm = torch.nn.utils.clip_grad_norm_([p for _, p in lora_parameters(student.model)], settings.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {**losses, "grad_norm": round(norm.item(), 3)}


def _measure(stage: Stage[Any], student: Student, step: int, log: RunLog) -> None:
    if figures := stage.dev(student):
        log.add({**figures, "step": step})


def _done(position: Position, settings: RunSettings) -> float:
    return progress(position.step, position.elapsed_s, settings.max_steps, settings.budget_s)
