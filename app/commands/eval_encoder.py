"""`eval encoder`: encoders on tasks of MTEB's types."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from app.commands.eval_gate import Gate
from app.display import progress, show, show_table
from app.door import emit
from app.encoders import build_named_encoder
from app.resolved import retriever_settings
from app.settings import Settings
from app.wiring import build_encoder, encoder_name
from eval.encoder import evaluate_encoder, figures, mean_over_tasks
from eval.run import Run
from eval.tasks import MAIN, Task, load_tasks
from indexer.encoder import Encoder


def run_encoder(
    settings: Settings, paths: Sequence[Path], names: Sequence[str], reuse: bool, gate: Gate, as_json: bool
) -> None:
    """Evaluate each encoder on each task, and print the means; exit with 1 if the gate does not hold for one."""
    tasks = load_tasks(paths)
    runs = [_evaluate(settings, tasks, name, reuse) for name in names or (None,)]
    if as_json:
        emit({"tasks": {task.name: task.type for task in tasks}, "encoders": [_told(run) for run in runs]})
    else:
        _show(tasks, runs)
    broken = [gate.close(run) for run in runs]
    if any(broken):
        raise typer.Exit(1)


def _evaluate(settings: Settings, tasks: Sequence[Task], name: str | None, reuse: bool) -> Run:
    encoder, shown = _encoder(settings, name)
    with progress() as meter:
        return evaluate_encoder(
            tasks, encoder, shown, settings.home, retriever_settings(settings), reuse=reuse, on_progress=meter
        )


def _encoder(settings: Settings, name: str | None) -> tuple[Encoder, str]:
    if name is not None:
        return build_named_encoder(settings, name)
    return build_encoder(settings), encoder_name(settings.encoder)


def _told(run: Run) -> dict[str, Any]:
    return {
        "encoder": run.facts["encoder_name"],
        "fingerprint": run.facts["encoder"],
        "run": run.id,
        "tasks": figures(run),
        "mean": round(mean_over_tasks(run), 6),
    }


def _show(tasks: Sequence[Task], runs: Sequence[Run]) -> None:
    """One row a task, one column an encoder, with each task's main figure."""
    shown = [figures(run) for run in runs]
    rows: list[tuple[object, ...]] = []
    for task in tasks:
        metric = MAIN[task.type]
        own = [each[task.name][metric] for each in shown]
        rows.append((task.name, metric, *map(_cell, own), own[0]["n"]))
    if len(tasks) > 1:
        rows.append(("mean", "", *(f"{mean_over_tasks(run):.3f}" for run in runs), ""))
    show_table(("task", "metric", *(run.facts["encoder_name"] for run in runs), "n"), rows)
    for run in runs:
        show(f"Run: {run.id}")


def _cell(figure: dict[str, Any]) -> str:
    low, high = figure["ci95"]
    return f"{figure['mean']:.3f} ({low:.3f} to {high:.3f})"
