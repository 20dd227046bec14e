"""`eval runs`, `compare`, `report` and `export`: what was stored, read again."""

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from app.commands.judges import Judging, build_judges, sampling_of
from app.display import count, note, progress, show, show_table
from app.door import emit, unwritable
from app.settings import Settings
from eval.compare import compare_runs
from eval.duel import Duel, duel
from eval.report import render_html, render_markdown, warning_of
from eval.run import Run, list_runs, load_run
from eval.summary import summarise


def list_all(settings: Settings, as_json: bool) -> None:
    """List the runs, oldest first."""
    runs = [load_run(settings.home, name) for name in list_runs(settings.home)]
    rows = [_row(run) for run in runs]
    if as_json:
        return emit({"runs": rows})
    if not rows:
        return show("There are no runs yet: `footnote eval retrieval` and `footnote eval answers` make them.")
    return show_table(
        ("run", "cases", "errors", "finished"),
        [(row["run"], row["cases"], row["errors"], row["finished"] or "no") for row in rows],
    )


def run_compare(
    settings: Settings,
    name_a: str,
    name_b: str,
    variant_a: str | None,
    variant_b: str | None,
    judge: str | None,
    judging: Judging,
    as_json: bool,
) -> None:
    """Print how run B differs from run A."""
    a, b = load_run(settings.home, name_a), load_run(settings.home, name_b)
    compared = compare_runs(a, b, variant_a=variant_a, variant_b=variant_b)
    fought = _duel(settings, a, b, judge, judging) if judge else None
    if as_json:
        return emit({**compared, **({"judged": asdict(fought)} if fought else {})})
    show(f"A: {a.id}\nB: {b.id}")
    for comparison in compared["comparisons"]:
        show()
        named = [variant for variant in comparison["variants"] if variant]
        if named:
            show(" against ".join(dict.fromkeys(named)), "bold")
        show_table(
            ("metric", "A", "B", "B - A", "95% interval", "p (Holm)", "wins", "losses", "ties", "detectable"),
            [_compared(metric, test) for metric, test in comparison["metrics"].items()],
        )
        if comparison["unlike"]:
            show(f"Not compared, as another judge or encoder gave them: {', '.join(comparison['unlike'])}")
        for metric, moved in list(comparison["moved"].items())[:1]:
            cases = ", ".join(f"{case['case']} ({case['a']:.2f} -> {case['b']:.2f})" for case in moved[:5])
            show(f"Moved most by {metric}: {cases or 'none'}")
    if fought:
        _tell_duel(fought)
    return show("\np is of a paired randomisation test, of McNemar's where values are 0 or 1, after Holm's correction.")


def write_report(settings: Settings, name: str, out: Path | None, as_json: bool) -> None:
    """Write the report beside where the command runs, or to `out`."""
    run = load_run(settings.home, name)
    path = out or Path(f"{run.id}.html")
    if path.suffix not in (".html", ".md"):
        raise typer.BadParameter(f"{path} ends in neither .html nor .md", param_hint="--out")
    _write(path, render_html(run) if path.suffix == ".html" else render_markdown(run))
    if as_json:
        return emit({"run": run.id, "report": str(path)})
    return show(f"Report: {path}", wrap=False)


def export_run(settings: Settings, name: str, out: Path, as_json: bool) -> None:
    """Write one line a case: the same run gives the same bytes, whenever and however often it was interrupted."""
    run = load_run(settings.home, name)
    if out.suffix not in (".jsonl", ".csv"):
        raise typer.BadParameter(f"{out} ends in neither .jsonl nor .csv", param_hint="--out")
    rows = [_exported(run, place) for place in range(len(run.records))]
    if out.suffix == ".jsonl":
        _write(out, "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows))
    else:
        _write_csv(out, rows)
    if as_json:
        return emit({"run": run.id, "file": str(out), "cases": len(rows)})
    return show(f"{count(len(rows), 'case')}: {out}", wrap=False)


def _duel(settings: Settings, a: Run, b: Run, judge: str, judging: Judging) -> Duel:
    from app.commands.eval_answers import CONCURRENT_WITH_SERVER

    (built,) = build_judges(settings, [judge], judging)
    with progress() as meter:
        at_once = CONCURRENT_WITH_SERVER if settings.generator.base_url else 1
        sampling = sampling_of(settings, [built])
        fought = duel(a, b, built, settings.home, sampling, concurrency=at_once, on_progress=meter)
    if warning := warning_of(settings.home, built.name):
        note(warning)
    return fought


def _tell_duel(fought: Duel) -> None:
    (low, high), (lower, higher) = fought.ci95, fought.length_controlled_ci95
    show(f"\nJudged by {fought.judge}: B wins {fought.wins}, loses {fought.losses}, ties {fought.ties} of {fought.n}")
    show(f"Win rate {fought.win_rate:.3f} ({low:.3f} to {high:.3f})")
    show(f"At equal length {fought.length_controlled:.3f} ({lower:.3f} to {higher:.3f})")
    if fought.consistency is not None:
        show(f"{fought.consistency:.0%} of the pairs were judged alike in both orders")


def _row(run: Run) -> dict[str, Any]:
    summary = summarise(run)
    return {
        "run": run.id,
        "kind": summary["kind"],
        "dataset": summary["dataset"],
        "cases": summary["cases"],
        "errors": sum(summary["errors"].values()),
        "finished": summary["finished"],
    }


def _compared(metric: str, test: dict[str, Any]) -> tuple[object, ...]:
    low, high = test["ci95"]
    detectable = test["detectable"]
    return (
        metric,
        f"{test['mean_a']:.4f}",
        f"{test['mean_b']:.4f}",
        f"{test['difference']:+.4f}",
        f"{low:+.4f} to {high:+.4f}",
        f"{test['p_holm']:.4f}",
        test["wins"],
        test["losses"],
        test["ties"],
        "-" if detectable is None else f"{detectable:.4f}",
    )


def _exported(run: Run, place: int) -> dict[str, Any]:
    record = run.records[place]
    scores = {
        metric: values[record.case_id]
        for metric, values in run.scores.get(record.variant, {}).items()
        if record.case_id in values
    }
    return {
        "case": record.case_id,
        "variant": record.variant,
        "outcome": record.outcome,
        "error": record.error,
        "message": record.message,
        "scores": scores,
    }


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    metrics = list(dict.fromkeys(metric for row in rows for metric in row["scores"]))
    try:
        with path.open("w", encoding="utf-8", newline="") as stream:
            table = csv.writer(stream)
            table.writerow(["case", "variant", "answer", "abstained", "error", *metrics])
            for row in rows:
                outcome = row["outcome"] or {}
                told = [outcome.get("answer", ""), outcome.get("abstained", ""), row["error"]]
                table.writerow([row["case"], row["variant"], *told, *(row["scores"].get(m, "") for m in metrics)])
    except OSError as error:
        raise unwritable(path, error) from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise unwritable(path, error) from error
