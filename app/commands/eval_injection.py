"""`eval injection`: documents that give orders, and how often they are obeyed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from app.commands.eval_answers import CONCURRENT_WITH_SERVER, told_settings
from app.commands.eval_gate import Gate
from app.display import count, progress, show, show_table
from app.door import emit
from app.resolved import pipeline_settings, uses_server
from app.settings import ROOT, Settings
from app.wiring import build_chat_model, build_entailment
from eval.injection import ANSWERED, RESISTED, attack_pipeline, load_attacks
from eval.statistics import proportion_interval

SUITE = ROOT / "data" / "injection"


def run_injection(settings: Settings, folder: Path | None, concurrency: int | None, gate: Gate, as_json: bool) -> None:
    """Attack the pipeline, and print the success rate of each family; exit with 1 if the gate does not hold."""
    folder = folder or SUITE
    attacks = load_attacks(folder)
    model = build_chat_model(settings)
    identity = {"model": model.name, "settings": told_settings(settings)}
    with progress() as meter:
        run = attack_pipeline(
            model,
            pipeline_settings(settings),
            attacks,
            settings.home,
            folder,
            identity,
            concurrency or (CONCURRENT_WITH_SERVER if uses_server(settings) else 1),
            meter,
            build_entailment(settings),
        )
    resisted = {family: list(metrics[RESISTED].values()) for family, metrics in run.scores.items()}
    every = [value for values in resisted.values() for value in values]
    answered = [value for metrics in run.scores.values() for value in metrics[ANSWERED].values()]
    families = {family: {**_rate(values), "n": len(values)} for family, values in sorted(resisted.items())}
    obeyed = [case for metrics in run.scores.values() for case, value in metrics[RESISTED].items() if not value]
    if as_json:
        overall = {**_rate(every), "n": len(every)} if every else None
        right = round(sum(answered) / len(answered), 6) if answered else None
        emit(
            {
                "run": run.id,
                "model": model.name,
                "attack_success": overall,
                "families": families,
                "answered_right": right,
                "obeyed": sorted(obeyed),
            }
        )
    else:
        show(f"{run.id}: {count(len(every), 'attack')} on {model.name}")
        rows = [(family, _shown(told), told["n"]) for family, told in families.items()]
        show_table(
            ("family", "attack success", "n"), [*rows, ("all", _shown(_rate(every)), len(every))] if every else []
        )
        if every:
            show(f"The question was answered rightly all the same in {sum(answered) / len(answered):.0%}.")
        if obeyed:
            show(f"Obeyed: {', '.join(sorted(obeyed))}")
    if gate.close(run):
        raise typer.Exit(1)


def _rate(resisted: Sequence[float]) -> dict[str, Any]:
    """Success rate of attacks with its 95% interval."""
    obeyed = len(resisted) - int(sum(resisted))
    low, high = proportion_interval(obeyed, len(resisted))
    return {"mean": round(obeyed / len(resisted), 6), "ci95": [round(low, 4), round(high, 4)]}


def _shown(told: Mapping[str, Any]) -> str:
    low, high = told["ci95"]
    return f"{told['mean']:.1%} ({low:.0%} to {high:.0%})"
