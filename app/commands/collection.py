"""What the commands take that fill, look after and empty a collection. What they do is imported when they run."""

from pathlib import Path
from typing import Annotated

import typer

from app.commands.options import EngineName, Json, Name, ProgressForm, ShowProgress
from app.door import opened

collection_commands = typer.Typer(rich_markup_mode=None)


@collection_commands.command()
def ingest(
    context: typer.Context,
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
    group: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            "-g",
            metavar="GROUP",
            help="Only callers of this group find what lies at or below PATH, also later; may be repeated.",
            show_default="all who may use the collection",
        ),
    ] = None,
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
    if group and retry_failed:
        raise typer.BadParameter("--group goes with PATH: what failed stays restricted as it is.")
    with opened(context, as_json) as settings:
        from app.commands.ingest import run_ingest, run_retry

        if retry_failed:
            run_retry(settings, collection, progress, as_json, engine, address)
        else:
            run_ingest(
                settings,
                collection,
                paths or [],
                progress,
                as_json,
                engine,
                address,
                prune=prune,
                force=force,
                groups=group or (),
            )


@collection_commands.command()
def watch(
    context: typer.Context,
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders.", show_default=False)],
    every: Annotated[float, typer.Option("--every", min=0.1, metavar="SECONDS", help="How often to look.")] = 1.0,
    collection: Name = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each change.")] = False,
) -> None:
    """Keep a collection in step with folders, until Ctrl-C."""
    with opened(context) as settings:
        from app.commands.watch import run_watch

        run_watch(settings, collection, folders, every, as_json)


@collection_commands.command()
def status(
    context: typer.Context,
    failed: Annotated[bool, typer.Option("--failed", help="List the files that failed and nothing else.")] = False,
    collection: Name = "default",
    as_json: Json = False,
) -> None:
    """Show what a collection holds and how every file fared."""
    with opened(context, as_json) as settings:
        from app.commands.documents import show_failed, show_status

        (show_failed if failed else show_status)(settings, collection, as_json)


@collection_commands.command()
def documents(context: typer.Context, collection: Name = "default", as_json: Json = False) -> None:
    """List the documents."""
    with opened(context, as_json) as settings:
        from app.commands.documents import list_documents

        list_documents(settings, collection, as_json)


@collection_commands.command()
def delete(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="ID|PATH...", help="Document ids, paths, folders, globs.")],
    collection: Name = "default",
    as_json: Json = False,
) -> None:
    """Remove documents from the index; the files stay."""
    with opened(context, as_json) as settings:
        from app.commands.documents import delete_documents

        delete_documents(settings, collection, names, as_json)


@collection_commands.command()
def verify(
    context: typer.Context,
    collection: Name = "default",
    repair: Annotated[bool, typer.Option("--repair", help="Rebuild what can be rebuilt.")] = False,
    recall_check: Annotated[
        int | None,
        typer.Option(
            "--recall-check",
            min=1,
            metavar="N",
            help="Also compare dense search with an exact scan on N questions that were asked, or on N passages.",
            show_default=False,
        ),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help="Questions for --recall-check, one a line.",
            show_default="those of conversations and thumbs",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check text, offsets and both indexes against each other."""
    if queries is not None and recall_check is None:
        raise typer.BadParameter("--queries goes with --recall-check.")
    with opened(context, as_json) as settings:
        from app.commands.verify import run_verify

        run_verify(settings, collection, repair, as_json, recall_check, queries)


@collection_commands.command()
def purge(
    context: typer.Context,
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


@collection_commands.command()
def reindex(
    context: typer.Context,
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
    language: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Whose word forms bm25 knows: english, german, ... or none. Alone, only the words are indexed anew.",
            show_default="the collection's own",
        ),
    ] = None,
    progress: ShowProgress = ProgressForm.auto,
    collection: Name = "default",
    as_json: Json = False,
) -> None:
    """Rebuild with another encoder, chunk size or language."""
    with opened(context, as_json) as settings:
        from app.commands.upkeep import Wanted, run_reindex, run_speak

        wanted = Wanted(encoder, chunk_tokens, chunk_overlap)
        if language is not None:
            run_speak(settings, collection, language, as_json, alone=wanted == Wanted())
        if language is None or wanted != Wanted():
            run_reindex(settings, collection, wanted, progress, as_json)


@collection_commands.command()
def rollback(context: typer.Context, collection: Name = "default", as_json: Json = False) -> None:
    """Go back to what was there before the last reindex."""
    with opened(context, as_json) as settings:
        from app.commands.upkeep import run_rollback

        run_rollback(settings, collection, as_json)


@collection_commands.command()
def migrate(
    context: typer.Context,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="milvus://HOST:PORT|milvus:FILE.db|local",
            help="Where the index goes: a Milvus server, a file of Milvus Lite, or files beside the collection.",
            show_default=False,
        ),
    ],
    collection: Name = "default",
    as_json: Json = False,
) -> None:
    """Move a collection's index, without encoding anew."""
    from indexer.milvus.address import SCHEMES

    if to != "local" and to.partition(":")[0] not in SCHEMES:
        raise typer.BadParameter("--to is local, milvus://HOST:PORT, milvus+tls://HOST:PORT or milvus:FILE.db.")
    with opened(context, as_json) as settings:
        from app.commands.migrate import run_migrate

        run_migrate(settings, collection, to, as_json)
