"""`train mntp`, `train simcse`, `train contrastive`: from options to a run, and what it tells."""

import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import typer

from app.display import Meter, note, progress, show
from app.door import emit
from app.settings import Settings
from app.wiring import adapter_dir, model_dir, open_collection
from indexer.errors import ConfigError, DatasetError
from indexer.llm2vec.tokens import load_token_counter
from indexer.llm2vec.training.contrastive import train_contrastive
from indexer.llm2vec.training.mntp import train_mntp
from indexer.llm2vec.training.pairs import cap_sources, read_pairs
from indexer.llm2vec.training.run import Progress, Report
from indexer.llm2vec.training.settings import ContrastiveSettings, MntpSettings, RunSettings, SimcseSettings
from indexer.llm2vec.training.simcse import train_simcse
from indexer.llm2vec.training.texts import Texts, distinct, read_documents, read_texts
from indexer.llm2vec.weights import BASE_MODEL
from indexer.sentence_transformer import find_sentence_transformer
from indexer.store.text import embed_text

PASSES, LEAST_STEPS, MOST_STEPS = 3, 10, 1000  # a thousand steps a stage is what was published
GO_ON_RATE = 1e-4  # what a trained adapter knows is worth more than a few pairs
Figures = dict[str, Any]
Run = TypeVar("Run", bound=RunSettings)


@dataclass(frozen=True, slots=True)
class Common:
    """Options of every stage; None takes the stage's own default."""

    out: Path
    start: str | None
    steps: int | None
    minutes: float | None
    batch: int | None
    max_tokens: int | None
    learning_rate: float | None
    rank: int | None
    alpha: int | None
    layers: int | None
    seed: int
    dev_every: int


@dataclass(frozen=True, slots=True)
class Source:
    """Where texts come from: exactly one of the three."""

    paths: tuple[Path, ...]
    collection: str | None
    texts: Path | None


@dataclass(frozen=True, slots=True)
class PairOptions:
    """Options of the contrastive stage."""

    pairs: Path
    teacher: str | None
    caps: tuple[str, ...]
    hard_negatives: int | None
    distill_weight: float | None
    neighbourhoods: int | None
    temperature: float | None
    grad_cache: bool


def common_options(params: Mapping[str, Any]) -> Common:
    """Take them from a command's parameters."""
    return Common(**{field.name: params[field.name] for field in fields(Common)})


def run_mntp(settings: Settings, common: Common, source: Source, context: typer.Context, as_json: bool) -> None:
    """Train with masked next-token prediction."""
    with progress() as meter:
        run = MntpSettings(**_shared(settings, common, None), **_given(batch_texts=common.batch))
        data = _texts(settings, source, run.max_tokens, meter)
        run = _ended(run, common, len(data.texts), run.batch_texts)
        figures = _training(lambda report: train_mntp(run, data, _command(context), report), meter, run.max_steps)
    _tell("mntp", common.out, figures, data.left_out, as_json)


def run_simcse(
    settings: Settings,
    common: Common,
    source: Source,
    dev: Path | None,
    temperature: float | None,
    grad_cache: bool,
    context: typer.Context,
    as_json: bool,
) -> None:
    """Train with unsupervised SimCSE."""
    with progress() as meter:
        own = _given(temperature=temperature, dev_file=dev, batch_texts=common.batch, grad_cache=grad_cache)
        run = SimcseSettings(**_shared(settings, common, None), **own)
        data = _texts(settings, source, run.max_tokens, meter)
        run = _ended(run, common, len(data.texts), run.batch_texts)
        figures = _training(lambda report: train_simcse(run, data, _command(context), report), meter, run.max_steps)
    _tell("simcse", common.out, figures, data.left_out, as_json)


def run_contrastive(
    settings: Settings, common: Common, options: PairOptions, context: typer.Context, as_json: bool
) -> None:
    """Train on pairs; unless told otherwise, from the adapter that serves."""
    caps = _caps(options.caps)
    own = _given(
        batch_pairs=common.batch,
        grad_cache=options.grad_cache,
        temperature=options.temperature,
        hard_negatives=options.hard_negatives,
        distill_weight=options.distill_weight,
        neighbourhoods=options.neighbourhoods,
        teacher_dir=teacher_folder(options.teacher) if options.teacher else None,
        teacher_name=Path(options.teacher).name if options.teacher else None,
    )
    run = ContrastiveSettings(**_shared(settings, common, "default"), **own, pairs=options.pairs, caps=caps)
    count = len(cap_sources(read_pairs(options.pairs), dict(caps), common.seed))
    run = _ended(run, common, count, run.batch_pairs)
    with progress() as meter:
        figures = _training(lambda report: train_contrastive(run, _command(context), report), meter, run.max_steps)
    _tell("contrastive", common.out, figures, (), as_json)


def teacher_folder(name: str) -> Path:
    """Find a sentence-transformers model by its folder or by the installed package that holds it."""
    folder = find_sentence_transformer(name)
    if folder is None:
        raise ConfigError(
            f"There is no sentence-transformers model {name}.",
            "Name its folder, or install the package that holds it into .venv first.",
        )
    return folder


def _ended(run: Run, common: Common, count: int, batch: int) -> Run:
    """Give the run an end: what was asked for, or else a few passes over `count` texts or pairs."""
    if common.steps or common.minutes:
        return replace(run, max_steps=common.steps, budget_s=common.minutes * 60 if common.minutes else None)
    return replace(run, max_steps=min(MOST_STEPS, max(LEAST_STEPS, math.ceil(PASSES * count / batch))))


def _shared(settings: Settings, common: Common, default_start: str | None) -> Figures:
    """Settings of every stage but its end."""
    start = _start(settings, common.start or default_start)
    shape = _given(rank=common.rank, alpha=common.alpha, layers=common.layers)
    if start and shape:
        raise ConfigError(
            f"--{next(iter(shape))} cannot change: the run goes on from {start}.", "Leave it out, or add --from none."
        )
    if common.rank and not common.alpha:
        shape["alpha"] = 2 * common.rank
    rate = common.learning_rate
    if rate is None and start and default_start and common.start in (None, default_start):
        rate = GO_ON_RATE
    base = model_dir(settings.encoder, settings.models_dir)
    return {
        "model_dir": base,
        "base_name": BASE_MODEL if settings.encoder.model == "smollm2" else base.name,
        "out": common.out,
        "start": start,
        "seed": common.seed,
        "dev_every_steps": common.dev_every,
        "pooling": _pooling(settings.encoder.pooling),
        "query_instruction": settings.encoder.query_instruction,
        **shape,
        **_given(max_tokens=common.max_tokens, learning_rate=rate),
    }


def _pooling(name: str) -> str:
    return "mean" if name == "auto" else name


def _start(settings: Settings, name: str | None) -> Path | None:
    if name in (None, "none"):
        return None
    return adapter_dir(settings.encoder) if name == "default" else Path(name)


def _texts(settings: Settings, source: Source, max_tokens: int, meter: Meter) -> Texts:
    if sum(map(bool, (source.paths, source.collection, source.texts))) != 1:
        raise ConfigError(
            "Texts come from one place.", "Name files or folders, or give --collection, or --texts with a JSONL file."
        )
    if source.texts:
        return read_texts(source.texts)
    if source.collection:
        collection = open_collection(settings, source.collection)
        texts = distinct(embed_text(title, headings, text) for _, title, headings, text in collection.texts())
        if not texts:
            raise DatasetError(f"Collection '{source.collection}' is empty.", "Ingest documents into it first.")
        return Texts(texts, f"collection {source.collection}")
    count_tokens = load_token_counter(model_dir(settings.encoder, settings.models_dir))
    return read_documents(
        source.paths, count_tokens, max_tokens, lambda done, total: meter("reading files", done, total)
    )


def _training(train: Callable[[Report], Figures], meter: Meter, max_steps: int | None) -> Figures:
    def report(now: Progress) -> None:
        done, total = (now.step, max_steps) if max_steps else (round(100 * now.share), 100)
        meter(f"step {now.step}, loss {now.loss:.3f}", done, total, now.left_s)

    try:
        return train(report)
    except KeyboardInterrupt:
        note("\nThe same command goes on from the last checkpoint.")
        raise


def _tell(stage: str, out: Path, figures: Figures, left_out: tuple[str, ...], as_json: bool) -> None:
    adapter = out.resolve()
    follow = [f'encoder.adapter = "{adapter}" in footnote.toml', "footnote reindex --collection NAME"]
    if as_json:
        told = {"stage": stage, "adapter": str(adapter), "figures": figures, "left_out": list(left_out)}
        return emit({**told, "curves": str(adapter / "curves.svg"), "next": follow})
    for reason in left_out:
        show(f"left out: {reason}", "dim", wrap=False)
    measured = ", ".join(f"{name.removeprefix('dev_')} {value}" for name, value in figures.items() if "dev_" in name)
    spent = f"{figures['steps']:,} steps, {figures['elapsed_s']:.0f} s"
    show(f"{stage}: {spent}{f'; held out: {measured}' if measured else ''}")
    show(f"Adapter, card, log and curves: {adapter}", wrap=False)
    return show(f"To use it: set {follow[0]}, then run `{follow[1]}`.", wrap=False)


def _caps(caps: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    parsed = []
    for cap in caps:
        source, _, most = cap.rpartition("=")
        if not source or not most.isdecimal():
            raise ConfigError(f"--cap {cap} is not SOURCE=NUMBER.", "Example: --cap wordnet=1500")
        parsed.append((source, int(most)))
    return tuple(parsed)


def _given(**options: Any) -> Figures:
    return {name: value for name, value in options.items() if value is not None}


def _command(context: typer.Context) -> str:
    """What was typed, with the names of files and folders in place of where they lie on this disk."""
    words = context.command_path.split()
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if value in (None, False, ()) or value == parameter.default or parameter.name == "as_json":
            continue
        option = [parameter.opts[0]] if parameter.opts[0].startswith("-") else []
        for one in value if isinstance(value, list | tuple) else [value]:
            words += option + ([] if one is True else [Path(one).name if isinstance(one, Path) else str(one)])
    return shlex.join(words)
