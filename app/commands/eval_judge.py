"""`eval judge-agreement`: how far judges agree with people."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from app.commands.eval_answers import CONCURRENT_WITH_SERVER, judge_model
from app.display import note, progress, show, show_table
from app.door import emit
from app.settings import Settings
from app.wiring import build_encoder, uses_server
from eval.agreement import TRUSTED_KAPPA
from eval.human import load_compared
from eval.judge import Judge, PairwiseJudge, PointwiseJudge, rule_judges
from eval.judging import measure_judges
from indexer.errors import ConfigError

RULES, MODELS = ("f1", "rouge_l", "encoder"), ("pairwise", "pointwise")


def run_judge_agreement(
    settings: Settings, folder: Path, names: Sequence[str], limit: int | None, own_model: str, as_json: bool
) -> None:
    """Measure the judges named, or all that can be had here; exit with 1 if one failed on a pair."""
    compared = load_compared(folder)[:limit]
    judges = build_judges(settings, names or (*RULES, *(MODELS if uses_server(settings) else ())))
    with progress() as meter:
        run, told = measure_judges(
            judges,
            compared,
            settings.home,
            folder.resolve().stem,
            {"limit": limit},
            own_model=own_model,
            concurrency=CONCURRENT_WITH_SERVER if uses_server(settings) else 1,
            on_progress=meter,
        )
    if as_json:
        emit({"run": run.id, **told})
    else:
        _tell(told)
    errors = {name: judge["errors"] for name, judge in told["judges"].items() if judge["errors"]}
    if errors:
        first = next(record for record in run.records if record.error)
        failed = ", ".join(f"{name} on {number}" for name, number in errors.items())
        note(f"Of {told['pairs']} pairs, judges failed: {failed}. {first.message}")
        note("The same command tries only these again.")
        raise typer.Exit(1)


def build_judges(settings: Settings, names: Sequence[str]) -> list[Judge]:
    """Judges by name.

    Raises:
        ConfigError: a name is unknown, or needs a model server and none is set.
    """
    wrong = [name for name in names if name not in (*RULES, *MODELS)]
    if wrong:
        raise ConfigError(f"There is no judge {wrong[0]}.", f"Choose from: {', '.join((*RULES, *MODELS))}.")
    by_rule = {judge.name: judge for judge in rule_judges(build_encoder(settings) if "encoder" in names else None)}
    judges: list[Judge] = [by_rule[name] for name in names if name in by_rule]
    if any(name in MODELS for name in names):
        model = judge_model(settings)
        makers = {"pairwise": PairwiseJudge, "pointwise": PointwiseJudge}
        judges += [makers[name](model) for name in names if name in MODELS]
    return judges


def _tell(told: dict[str, Any]) -> None:
    columns = ("accuracy", "accuracy_decided", "kappa", "spearman", "position_consistency", "verbosity_bias")
    rows = [("people, one by another", *(_cell(told["people"].get(name)) for name in columns), "")]
    for name, judge in told["judges"].items():
        cells = [_cell(judge["figures"][column]) for column in columns]
        rows.append((name, *cells, "" if judge["trusted"] else f"kappa below {TRUSTED_KAPPA}"))
    show(f"{told['pairs']} pairs; each figure with its 95% interval")
    show_table(("judge", *columns, "warning"), rows)
    own = {name: judge["figures"]["self_preference"] for name, judge in told["judges"].items()}
    for name, figure in own.items():
        if figure is not None:
            show(f"{name} prefers its own model's answers by {_cell(figure)} more than people do.")


def _cell(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return "-"
    low, high = figure["ci95"]
    return f"{figure['value']:.2f} ({low:.2f} to {high:.2f})"
