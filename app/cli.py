"""The command line: what each command takes. What it does is in app/commands, imported only when it runs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.commands.evaluation import evaluation
from app.commands.evaluation_questions import question_commands
from app.commands.evaluation_runs import run_commands
from app.commands.keys import keys
from app.commands.options import EngineName, Filters, Hidden, Json, Mode, Name, ProgressForm, ShowProgress
from app.commands.train import training
from app.door import Invocation, opened

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
app.add_typer(evaluation, name="eval")
app.add_typer(training, name="train")
app.add_typer(keys, name="keys")


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
def ingest(
    context: Context,
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH...", help="Files and folders.", show_default=False)
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Take just the files that failed before, in place of PATH.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Also remove documents below PATH whose file is gone.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Prune even if PATH is missing or empty.")] = False,
    engine: Annotated[
        EngineName, typer.Option("--engine", help="Read and encode in this process, or on a Ray cluster.")
    ] = EngineName.local,
    address: Annotated[
        str, typer.Option("--address", metavar="HOST:PORT", help="The Ray cluster.", show_default="this machine alone")
    ] = "",
    progress: ShowProgress = ProgressForm.auto,
    collection: Name = "default",
    as_json: Json = False,
) -> None:
    """Read and index documents; only what is new or changed."""
    if bool(paths) == retry_failed or (prune and retry_failed):
        raise typer.BadParameter("Name files or folders, or give --retry-failed: one of the two.")
    if force and not prune:
        raise typer.BadParameter("--force goes with --prune.")
    if address and engine is not EngineName.ray:
        raise typer.BadParameter("--address goes with --engine ray.")
    with opened(context, as_json) as settings:
        from app.commands.ingest import run_ingest, run_retry

        if retry_failed:
            run_retry(settings, collection, progress, as_json, engine, address)
        else:
            run_ingest(settings, collection, paths or [], progress, as_json, engine, address, prune=prune, force=force)


@app.command()
def watch(
    context: Context,
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders.", show_default=False)],
    every: Annotated[float, typer.Option("--every", min=0.1, metavar="SECONDS", help="How often to look.")] = 1.0,
    collection: Name = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each change.")] = False,
) -> None:
    """Keep a collection in step with folders, until Ctrl-C."""
    with opened(context) as settings:
        from app.commands.watch import run_watch

        run_watch(settings, collection, folders, every, as_json)


@app.command()
def status(
    context: Context,
    failed: Annotated[bool, typer.Option("--failed", help="List the files that failed and nothing else.")] = False,
    collection: Name = "default",
    as_json: Json = False,
) -> None:
    """Show what a collection holds and how every file fared."""
    with opened(context, as_json) as settings:
        from app.commands.documents import show_failed, show_status

        (show_failed if failed else show_status)(settings, collection, as_json)


@app.command()
def documents(context: Context, collection: Name = "default", as_json: Json = False) -> None:
    """List the documents."""
    with opened(context, as_json) as settings:
        from app.commands.documents import list_documents

        list_documents(settings, collection, as_json)


@app.command()
def delete(
    context: Context,
    names: Annotated[list[str], typer.Argument(metavar="ID|PATH...", help="Document ids, paths, folders, globs.")],
    collection: Name = "default",
    as_json: Json = False,
) -> None:
    """Remove documents from the index; the files stay."""
    with opened(context, as_json) as settings:
        from app.commands.documents import delete_documents

        delete_documents(settings, collection, names, as_json)


@app.command()
def verify(
    context: Context,
    collection: Name = "default",
    repair: Annotated[bool, typer.Option("--repair", help="Rebuild what can be rebuilt.")] = False,
    as_json: Json = False,
) -> None:
    """Check text, offsets and both indexes against each other."""
    with opened(context, as_json) as settings:
        from app.commands.upkeep import run_verify

        run_verify(settings, collection, repair, as_json)


@app.command()
def purge(
    context: Context,
    generations: Annotated[
        bool, typer.Option("--generations", help="Remove what `rollback` would return to as well.")
    ] = False,
    collection: Name = "default",
    as_json: Json = False,
) -> None:
    """Leave no byte of what was deleted on disk."""
    with opened(context, as_json) as settings:
        from app.commands.upkeep import run_purge

        run_purge(settings, collection, generations, as_json)


@app.command()
def reindex(
    context: Context,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A sentence-transformers folder or package, or LLM2Vec adapters: `default`, `none`, folders with +.",
            show_default="the collection's own",
        ),
    ] = None,
    chunk_tokens: Annotated[
        int | None,
        typer.Option(
            "--chunk-tokens", min=16, max=8192, help="Most tokens of a chunk.", show_default="the collection's own"
        ),
    ] = None,
    chunk_overlap: Annotated[
        int | None,
        typer.Option(
            "--chunk-overlap",
            "--chunk-overlap-tokens",
            min=0,
            help="Tokens that a chunk repeats from the one before it.",
            show_default="the collection's own",
        ),
    ] = None,
    progress: ShowProgress = ProgressForm.auto,
    collection: Name = "default",
    as_json: Json = False,
) -> None:
    """Rebuild with another encoder or chunk size."""
    with opened(context, as_json) as settings:
        from app.commands.upkeep import Wanted, run_reindex

        run_reindex(settings, collection, Wanted(encoder, chunk_tokens, chunk_overlap), progress, as_json)


@app.command()
def rollback(context: Context, collection: Name = "default", as_json: Json = False) -> None:
    """Go back to what was there before the last reindex."""
    with opened(context, as_json) as settings:
        from app.commands.upkeep import run_rollback

        run_rollback(settings, collection, as_json)


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
    port: Annotated[int | None, typer.Option(min=1, max=65535, show_default="ui.port, 8501")] = None,
) -> None:
    """Serve the chat page."""
    with opened(context) as settings:
        from app.ui.launch import run_ui

        raise typer.Exit(run_ui(settings, collection, port, config=context.obj.config))


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
