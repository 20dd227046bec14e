"""`eval judge-agreement`: how far judges agree with people."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from app.commands.eval_answers import CONCURRENT_WITH_SERVER, told_of_usage
from app.commands.judges import MODELS, RULES, Judging, build_judges, sampling_of
from app.display import count, note, progress, show, show_table
from app.door import emit
from app.settings import Settings
from eval.agreement import TRUSTED_KAPPA
from eval.human import load_compared
from eval.judgements import told_usage
from eval.judging import measure_judges
from generator.usage import Prices


def run_judge_agreement(
    settings: Settings,
    folder: Path,
    names: Sequence[str],
    judging: Judging,
    limit: int | None,
    own_model: str,
    prices: Prices | None,
    as_json: bool,
) -> None:
    """Measure the judges named, or all that can be had here; exit with 1 if one failed on a pair."""
    compared = load_compared(folder)[:limit]
    served = bool(settings.generator.base_url)
    judges = build_judges(settings, names or (*RULES, *(MODELS if served else ())), judging)
    with progress() as meter:
        run, told = measure_judges(
            judges,
            compared,
            settings.home,
            folder.resolve().stem,
            {"limit": limit, **sampling_of(settings, judges)},
            own_model=own_model,
            prices=prices,
            concurrency=CONCURRENT_WITH_SERVER if served else 1,
            on_progress=meter,
        )
    told["judge_usage"] = told_usage(run)
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


def _tell(told: dict[str, Any]) -> None:
    columns = ("accuracy", "accuracy_decided", "kappa", "spearman", "position_consistency", "verbosity_bias")
    rows = [("people, one by another", *(_cell(told["people"].get(name)) for name in columns), "")]
    for name, judge in told["judges"].items():
        cells = [_cell(judge["figures"][column]) for column in columns]
        rows.append((name, *cells, "" if judge["trusted"] else f"kappa below {TRUSTED_KAPPA}"))
    show(f"{told['pairs']} pairs; each figure with its 95% interval")
    show_table(("judge", *columns, "warning"), rows)
    for name, varied in told["repeats"].items():
        if varied:
            parts = [f"{what} {_cell(varied[what])}" for what in ("sd", "flipped", "disagreement")]
            show(f"Asked {varied['repeats']} times, {name}: {', '.join(parts)} on {count(varied['n'], 'pair')}")
    if told["judge_usage"]:
        show(told_of_usage(told["judge_usage"]))
    own = {name: judge["figures"]["self_preference"] for name, judge in told["judges"].items()}
    for name, figure in own.items():
        if figure is not None:
            show(f"{name} prefers its own model's answers by {_cell(figure)} more than people do.")


def _cell(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return "-"
    low, high = figure["ci95"]
    return f"{figure['value']:.2f} ({low:.2f} to {high:.2f})"
