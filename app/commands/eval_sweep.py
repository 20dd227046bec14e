"""`eval sweep`: combinations of settings against each other on one data set."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, cast

import typer

from app.commands.eval_answers import Asking, evaluate_with
from app.display import Meter, progress, show, show_table
from app.door import emit
from app.rerankers import build_expander, build_reranker
from app.resolved import chunk_settings, retriever_settings
from app.settings import Settings, known_keys, overridden
from app.wiring import build_encoder
from eval.formats import load_any
from eval.index import index_corpus
from eval.retrieval import evaluate_retrieval
from eval.run import Run, load_run
from eval.sweep import FIRST_RUNG, Measured, Standing, Sweep, Trial, sweep
from indexer.errors import ConfigError

SECTIONS = ("retriever.", "generator.", "indexer.", "encoder.")


def run_sweep(
    settings: Settings, path: Path, answers: bool, tried: Sequence[str], metric: str, out: Path | None, wants_json: bool
) -> None:
    """Measure every combination, and print what is best and what it costs."""
    if out is not None and out.exists():
        raise ConfigError(f"{out} is there already.", "Name a new file, and move the lines over.")
    trials = read_trials(settings, tried)
    cut = any(key.startswith("indexer.") for trial in trials for key in trial)
    dataset = load_any(path)
    questions = len(dataset.judged if not answers else dataset.cases)
    with progress() as meter:

        def measure(trial: Trial, count: int) -> Measured:
            return _measure(with_trial(settings, trial), path, answers, metric, count, cut, meter)

        found = sweep(trials, questions, measure, FIRST_RUNG)
    winner = found.standings[0]
    if out is not None and winner.trial:
        _write_toml(out, winner)
    if wants_json:
        dropped = [{"settings": dict(trial), "after": count} for trial, count in found.dropped]
        standings = [{**asdict(s), "trial": dict(s.trial)} for s in found.standings]
        return emit({"metric": metric, "n": found.questions, "standings": standings, "dropped": dropped})
    return _tell(found, metric, out)


def read_trials(settings: Settings, tried: Sequence[str]) -> list[Trial]:
    """Every combination of `KEY=VALUE,VALUE` options; the present settings come first.

    Raises:
        ConfigError: a setting is unknown, or a value is not valid.
    """
    axes = {}
    for text in tried:
        key, _, values = text.partition("=")
        if not values or not key.startswith(SECTIONS) or key not in dict(known_keys()):
            known = ", ".join(name for name, _ in known_keys() if name.startswith(SECTIONS))
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE,VALUE of one of {known}", param_hint="--try")
        axes[key] = [_value(value.strip()) for value in values.split(",")]
    combined = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())] if axes else []
    changed = [trial for trial in combined if with_trial(settings, trial) != settings]  # refused now, if at all
    return [{}, *changed]


def with_trial(settings: Settings, trial: Trial) -> Settings:
    """The settings with a trial's values.

    Raises:
        ConfigError: a value is not valid.
    """
    from pydantic import ValidationError

    try:
        return overridden(settings, trial)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{key} = {first['input']!r} is not valid.", f"{first['msg']}.") from error


def _measure(
    settings: Settings, path: Path, answers: bool, metric: str, count: int, cut: bool, meter: Meter
) -> Measured:
    if not answers:
        run, index_bytes = _retrieval(settings, path, count, cut, meter)
        stage, variant = "search", str(settings.retriever.mode)
    else:
        run, collection = evaluate_with(settings, path, None, Asking(count, reuse=True), meter)
        index_bytes, stage, variant = _size(collection.folder), "total", ""
    scores = run.scores.get(variant, {}).get(metric)
    if not scores:
        known = ", ".join(run.scores.get(variant, {}))
        raise ConfigError(f"No question of {path} has {metric}.", f"Choose one of: {known}.")
    missing = len(run.cases) - len(scores)
    if any(record.error for record in run.records):
        first = next(record for record in run.records if record.error)
        raise ConfigError(f"{missing} questions failed: {first.message}", "The same command tries only these again.")
    return Measured(scores, median(record.timings_ms[stage] for record in run.records), index_bytes)


def _retrieval(settings: Settings, path: Path, count: int, cut: bool, meter: Meter) -> tuple[Run, int]:
    mode = settings.retriever.mode
    encoder = build_encoder(settings) if mode != "bm25" else None
    reranker = build_reranker(settings) if settings.retriever.rerank else None
    chunking = chunk_settings(settings) if cut else None  # for all trials or for none, or they could not be compared
    report = evaluate_retrieval(
        path,
        [mode],
        encoder,
        settings.home,
        retriever_settings(settings),
        chunking=chunking,
        reranker=reranker,
        expander=build_expander(settings),
        limit=count,
        reuse=True,
        language=settings.indexer.language,
        on_progress=meter,
    )
    collection = index_corpus(load_any(path), settings.home, encoder, chunking, language=settings.indexer.language)
    return load_run(settings.home, report["run"]), _size(collection.folder)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _value(text: str) -> object:
    try:
        return cast(object, json.loads(text))
    except ValueError:
        return text


def _name(trial: Trial) -> str:
    return ", ".join(f"{key}={value}" for key, value in trial.items()) or "the present settings"


def _tell(found: Sweep, metric: str, out: Path | None) -> None:
    rows = [_row(standing) for standing in found.standings]
    show_table(("settings", metric, "95% interval", "behind", "p (Holm)", "p50 ms", "index MB", "pareto"), rows)
    if found.dropped:
        show(f"Dropped early: {'; '.join(f'{_name(trial)} after {count}' for trial, count in found.dropped)}")
    winner = found.standings[0]
    present = next(standing for standing in found.standings if not standing.trial)
    if not winner.trial or present.p_holm >= 0.05:
        show("The present settings are not behind by more than chance: there is no need to change them.")
    elif out is not None:
        show(f"The best settings: {out}", wrap=False)


def _row(standing: Standing) -> tuple[Any, ...]:
    low, high = standing.ci95
    return (
        _name(standing.trial),
        f"{standing.mean:.4f}",
        f"{low:.4f} to {high:.4f}",
        f"{standing.behind:.4f}",
        f"{standing.p_holm:.4f}",
        f"{standing.p50_ms:.2f}",
        f"{standing.index_bytes / 1e6:.1f}",
        "yes" if standing.pareto else "",
    )


def _write_toml(path: Path, winner: Standing) -> None:
    sections: dict[str, list[str]] = {}
    for key, value in winner.trial.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, []).append(f"{name} = {json.dumps(value)}\n")
    text = "\n".join(f"[{section}]\n{''.join(lines)}" for section, lines in sections.items())
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.", "Name another file.") from error
