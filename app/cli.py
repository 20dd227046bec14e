"""The command line: what each command takes. What it does is in app/commands, imported only when it runs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.commands.access import access
from app.commands.collection import collection_commands
from app.commands.evaluation import evaluation
from app.commands.evaluation_questions import question_commands
from app.commands.evaluation_runs import run_commands
from app.commands.keys import keys
from app.commands.options import Filters, Hidden, Json, Mode, Name
from app.commands.train import training
from app.door import Invocation, leave, opened

app = typer.Typer(
    name="footnote",
    help="Ask your own documents; every claim carries a footnote to the exact words it rests on.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
evaluation.add_typer(run_commands)
evaluation.add_typer(question_commands)
app.add_typer(collection_commands)
app.add_typer(evaluation, name="eval")
app.add_typer(training, name="train")
app.add_typer(keys, name="keys")
app.add_typer(access, name="access")


class Pooling(StrEnum):
    """How token states become one vector: the llm2vec package's names, and two short ones."""

    mean = "mean"
    weighted_mean = "weighted_mean"
    eos_token = "eos_token"
    last_token = "last_token"
    bos_token = "bos_token"
    eos = "eos"
    bos = "bos"


Context = typer.Context


@app.callback()
def footnote(
    context: Context,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings file; see docs/footnote.toml.example.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Log everything, and show tracebacks.")] = False,
) -> None:
    context.obj = Invocation(config, debug)


@app.command()
def demo(
    context: Context,
    collection: Name = "demo",
    no_ui: Annotated[bool, typer.Option("--no-ui", help="Stop before the chat page.")] = False,
    as_json: Json = False,
) -> None:
    """Try the samples: ingest, answer questions, open the page."""
    with opened(context, as_json) as settings:
        from app.demo import run_demo

        run_demo(settings, collection, context.obj.config, with_ui=not (no_ui or as_json), as_json=as_json)


@app.command()
def search(
    context: Context,
    query: Annotated[str, typer.Argument(metavar="QUERY")],
    collection: Name = "default",
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many passages.")] = 10,
    mode: Annotated[Mode | None, typer.Option(help="How to search.", show_default="retriever.mode, hybrid")] = None,
    rerank: Annotated[bool, typer.Option("--rerank", help="Let a cross-encoder order the best again.")] = False,
    filters: Filters = None,
    as_json: Json = False,
) -> None:
    """Find passages, with what each stage of the search says."""
    with opened(context, as_json) as settings:
        from app.commands.search import run_search
        from indexer.filter import parse_filter

        searched = mode.value if mode else settings.retriever.mode
        run_search(settings, collection, query, k, searched, rerank, parse_filter(filters or ()), as_json)


@app.command()
def ask(
    context: Context,
    question: Annotated[str, typer.Argument(metavar="QUESTION")],
    collection: Name = "default",
    query: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Search for this and answer it, in place of QUESTION.")
    ] = None,
    filters: Filters = None,
    as_json: Json = False,
) -> None:
    """Answer a question with footnotes."""
    with opened(context, as_json) as settings:
        from app.commands.ask import run_ask
        from indexer.filter import parse_filter

        run_ask(settings, collection, question, as_json, query, parse_filter(filters or ()))


@app.command()
def encode(
    context: Context,
    source: Annotated[Path, typer.Option("--input", metavar="FILE.json", help="A JSON list of strings.")],
    output: Annotated[Path, typer.Option("--output", metavar="FILE.npy", help="Gets float32 unit rows (n, dim).")],
    instruction: Annotated[str, typer.Option("--instruction", metavar="TEXT", help="Put before every text.")] = "",
    no_adapter: Annotated[bool, typer.Option("--no-adapter", help="The base model alone.")] = False,
    pooling: Annotated[
        Pooling | None, typer.Option(help="How token states become one vector.", show_default="encoder.pooling")
    ] = None,
    dim: Annotated[int | None, typer.Option(min=1, help="Keep so many leading numbers of a vector.")] = None,
    collection: Annotated[str, typer.Option("--collection", "-c", hidden=True)] = "default",
    as_json: Json = False,
) -> None:
    """Turn texts into vectors with the configured encoder."""
    with opened(context, as_json) as settings:
        from app.commands.encode import run_encode

        changes = {"pooling": pooling and pooling.value, "dim": dim, "adapter": "none" if no_adapter else None}
        changed = {key: value for key, value in changes.items() if value is not None}
        run_encode(settings, changed, source, output, instruction, as_json)


@app.command()
def ui(
    context: Context,
    collection: Annotated[str | None, typer.Option("--collection", "-c", metavar="NAME", help="Shown first.")] = None,
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", show_default="ui.host, 127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, show_default="ui.port, 8501")] = None,
) -> None:
    """Serve the chat page."""
    with opened(context) as settings:
        from app.ui.launch import run_ui

        raise typer.Exit(run_ui(settings, collection, port, host=host, config=context.obj.config))


@app.command()
def serve(
    context: Context,
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", show_default="server.host, 127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, show_default="server.port, 8080")] = None,
) -> None:
    """Serve the HTTP API."""
    with opened(context) as settings:
        from app.api.launch import run_serve

        run_serve(settings, host, port)
    leave()


@app.command()
def audit(
    context: Context,
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest.")] = 50,
    collection: Hidden = "default",
    as_json: Json = False,
) -> None:
    """Show who changed documents, keys and access, and when."""
    with opened(context, as_json) as settings:
        from app.commands.access import show_audit

        show_audit(settings, limit, as_json)


@app.command()
def doctor(context: Context, collection: Name = "default", as_json: Json = False) -> None:
    """Say what is present, what is missing and what to do."""
    with opened(context, as_json) as settings:
        from app.doctor import run_doctor

        run_doctor(settings, as_json)


@app.command("serve-model")
def serve_model(
    context: Context,
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[-- VLLM_OPTION...]", help="For vLLM itself.", show_default=False)
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where it listens, on this machine only.")] = 8000,
    model: Annotated[
        str, typer.Option(metavar="DIR|NAME", help="A model's folder or hub name.", show_default="SmolLM2-135M")
    ] = "",
    reader: Annotated[bool, typer.Option("--reader", help="SmolLM2 with the reader's adapter.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running; --json implies it.")] = False,
    wait: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Longest to wait until it answers.")] = 900,
    stop: Annotated[bool, typer.Option("--stop", help="End it.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say whether it runs.")] = False,
    collection: Hidden = "default",
    as_json: Json = False,
) -> None:
    """Serve a model with a local vLLM, or end it."""
    if stop and status:
        raise typer.BadParameter("--stop and --status exclude each other.")
    if model and reader:
        raise typer.BadParameter("--reader is SmolLM2 and takes no --model.")
    with opened(context, as_json) as settings:
        from app.commands.serve_model import run_serve, show_server, stop_server

        if stop or status:
            return stop_server(settings, as_json) if stop else show_server(settings, as_json)
        return run_serve(settings, model, port, reader, options or [], wait, detach, as_json)


def run() -> None:
    """Run the command line."""
    app(prog_name="footnote")
