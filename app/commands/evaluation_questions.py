"""`footnote eval`: what the commands that write questions and let people review them take."""

from pathlib import Path
from typing import Annotated

import typer

from app.commands.options import Hidden, Json, Name
from app.door import opened

question_commands = typer.Typer(rich_markup_mode=None)


@question_commands.command()
def synthesize(
    context: typer.Context,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Gets the questions; a new folder, or that of this command.")
    ],
    collection: Name = "default",
    number: Annotated[int, typer.Option("--count", min=1, max=100_000, help="Questions in all.")] = 20,
    kinds: Annotated[
        str, typer.Option(metavar="KIND,...", help="Any of single, two, unanswerable, follow-up.")
    ] = "single,two,unanswerable,follow-up",
    attempts: Annotated[
        int | None,
        typer.Option(min=1, help="Most passages tried for a kind.", show_default="10 for each question"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides which passages.")] = 0,
    k: Annotated[
        int, typer.Option("--k", "-k", min=1, max=100, help="The search must find a question's passages among so many.")
    ] = 10,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=512, help="Passages at a time.", show_default="16")
    ] = None,
    as_json: Json = False,
) -> None:
    """Let the model server write questions about a collection, and keep those that pass the filters.

    Writing that was killed goes on when the same command is given again.
    """
    from eval.synthesis.candidate import KINDS

    names = [name.strip() for name in kinds.split(",") if name.strip()]
    wrong = [name for name in names if name not in KINDS]
    if wrong or not names:
        raise typer.BadParameter(
            f"{wrong[0] if wrong else kinds!r} is none of {', '.join(KINDS)}", param_hint="--kinds"
        )
    chosen = [kind for kind in KINDS if kind in names]
    if number < len(chosen):
        raise typer.BadParameter(f"{number} is fewer than the kinds asked for", param_hint="--count")
    with opened(context, as_json) as settings:
        from app.commands.eval_synthesize import run_synthesize

        run_synthesize(settings, collection, out, number, chosen, attempts, seed, k, concurrency, as_json)


@question_commands.command()
def review(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `eval synthesize` wrote.")],
    accepted_only: Annotated[
        bool | None,
        typer.Option(
            "--accepted-only/--undecided-too",
            help="Whether questions that nobody has looked at are used.",
            show_default="as it was; at first they are",
        ),
    ] = None,
    no_ui: Annotated[bool, typer.Option("--no-ui", help="Only say what was decided.")] = False,
    port: Annotated[int | None, typer.Option(min=1, max=65535, show_default="ui.port, 8501")] = None,
    collection: Hidden = "default",
    as_json: Json = False,
) -> None:
    """Open the page on which people accept, edit and reject written questions."""
    with opened(context, as_json) as settings:
        from app.commands.eval_synthesize import run_review

        run_review(settings, folder, accepted_only, as_json)
        if not (no_ui or as_json):
            from app.ui.launch import run_ui

            raise typer.Exit(run_ui(settings, None, port, config=context.obj.config, review=folder))
