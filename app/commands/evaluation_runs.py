"""`footnote eval`: what the commands about finished runs, and about who judges them, take."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from app.commands.options import Criteria, FeedbackForm, Hidden, Json, Panel, PriceIn, PriceOut
from app.door import opened

run_commands = typer.Typer(rich_markup_mode=None)

RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's name, its beginning or end, its file, or last.")]


@run_commands.command()
def runs(context: typer.Context, collection: Hidden = "default", as_json: Json = False) -> None:
    """List the runs."""
    with opened(context, as_json) as settings:
        from app.commands.eval_runs import list_all

        list_all(settings, as_json)


@run_commands.command()
def compare(
    context: typer.Context,
    run_a: RunName,
    run_b: RunName,
    variant_a: Annotated[str | None, typer.Option("--mode-a", metavar="MODE", help="Of run A.")] = None,
    variant_b: Annotated[str | None, typer.Option("--mode-b", metavar="MODE", help="Of run B.")] = None,
    judge: Annotated[
        str | None, typer.Option(metavar="NAME", help="Also let this judge compare the answers; see judge-agreement.")
    ] = None,
    domain: Criteria = None,
    panel: Panel = None,
    collection: Hidden = "default",
    as_json: Json = False,
) -> None:
    """Say which metrics differ between two runs by more than chance, and which cases moved most."""
    with opened(context, as_json) as settings:
        from app.commands.eval_runs import run_compare
        from app.commands.judges import read_judging

        judging = read_judging([judge] if judge else [], domain, panel)
        run_compare(settings, run_a, run_b, variant_a, variant_b, judge, judging, as_json)


@run_commands.command()
def report(
    context: typer.Context,
    run: RunName,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html|FILE.md", help="Gets the report.", show_default="RUN.html here")
    ] = None,
    collection: Hidden = "default",
    as_json: Json = False,
) -> None:
    """Write one self-contained page about a run."""
    with opened(context, as_json) as settings:
        from app.commands.eval_runs import write_report

        write_report(settings, run, out, as_json)


@run_commands.command()
def export(
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Option(metavar="FILE.jsonl|FILE.csv", help="Gets one line a case, without times; thumbs need .jsonl."),
    ],
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", help="A run's name, its beginning or end, its file, or last.", show_default=False
        ),
    ] = None,
    feedback: Annotated[
        FeedbackForm | None,
        typer.Option(
            help="Thumbs in place of a run. pairs: for `train contrastive --pairs`. preferences: chosen and rejected "
            "answers, as TRL reads them. gold: cases for `eval answers --dataset FILE --served NAME`."
        ),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"], help="Thumbs from then on, UTC."
        ),
    ] = None,
    scrub: Annotated[
        bool, typer.Option("--scrub", help="Take mail addresses, phone, IBAN, card and IP numbers out of thumbs.")
    ] = False,
    collection: Annotated[
        str | None,
        typer.Option("--collection", "-c", metavar="NAME", help="Thumbs on its answers alone.", show_default="all"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write every case of a run with its outcome and scores; or, with --feedback, what thumbs speak for."""
    if (run is None) == (feedback is None):
        raise typer.BadParameter("Name a RUN, or say --feedback pairs, preferences or gold.")
    if run is not None and (since or scrub):
        raise typer.BadParameter("--since and --scrub go with --feedback.")
    with opened(context, as_json) as settings:
        if run is not None:
            from app.commands.eval_runs import export_run

            return export_run(settings, run, out, as_json)
        from app.commands.eval_feedback import Wanted, export_feedback

        assert feedback is not None, "one of the two was given"
        return export_feedback(settings, Wanted(feedback.value, out, collection, since, scrub), as_json)


@run_commands.command()
def ab(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="An experiment.", show_default="the present one, or the last")
    ] = None,
    collection: Hidden = "default",
    as_json: Json = False,
) -> None:
    """Compare the two arms of an experiment: thumbs, answers declined and times, by conversation."""
    with opened(context, as_json) as settings:
        from app.commands.eval_ab import run_ab

        run_ab(settings, name, as_json)


@run_commands.command("judge-agreement")
def judge_agreement(
    context: typer.Context,
    dataset: Annotated[Path, typer.Option("--dataset", metavar="DIR", help="Pairs of answers that people compared.")],
    judge: Annotated[
        list[str] | None,
        typer.Option(
            "--judge",
            "--judges",
            metavar="NAME,...",
            help="f1, rouge_l, encoder; pairwise, pointwise, geval, panel ask the model server.",
            show_default="all that can be had but panel",
        ),
    ] = None,
    domain: Criteria = None,
    panel: Panel = None,
    repeat: Annotated[
        int | None, typer.Option(min=2, max=50, help="Ask so often, with sampling, and tell how much verdicts vary.")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(min=0.01, max=2, help="Of repeated judging; its seeds are 1, 2, 3...", show_default="0.7"),
    ] = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many pairs.")] = None,
    own_model: Annotated[str, typer.Option(metavar="NAME", help="Part of the names of the judge's own answers.")] = "",
    collection: Hidden = "default",
    as_json: Json = False,
) -> None:
    """Measure judges against people: agreement, order, length and self-preference."""
    with opened(context, as_json) as settings:
        from app.commands.eval_judge import run_judge_agreement
        from app.commands.judges import read_judging, read_prices

        names = [name.strip() for given in judge or () for name in given.split(",") if name.strip()]
        judging = read_judging(names or ["all"], domain, panel, repeat, temperature)
        prices = read_prices(price_in, price_out)
        run_judge_agreement(settings, dataset, names, judging, limit, own_model, prices, as_json)
