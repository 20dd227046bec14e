"""`access`: which groups use a collection, and which paths of it are left to some; `audit`: who changed what."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.options import Groups, Json, Name
from app.door import opened

if TYPE_CHECKING:
    from app.settings import Settings
    from indexer.collection import Collection
    from indexer.store.writer import Writer

access = typer.Typer(help="Show and change who may read a collection and its documents.", no_args_is_help=True)

GroupNames = Annotated[list[str], typer.Argument(metavar="GROUP...", help="Of the keys or of the sign-in.")]


@access.command("show")
def show_access(context: typer.Context, collection: Name = "default", as_json: Json = False) -> None:
    """Show the groups that a collection is granted to, and its restricted paths."""
    with opened(context, as_json) as settings:
        from app.wiring import open_collection

        _show(open_collection(settings, collection), as_json)


@access.command()
def grant(context: typer.Context, groups: GroupNames, collection: Name = "default", as_json: Json = False) -> None:
    """Let groups use a collection."""
    with opened(context, as_json) as settings:
        _change(settings, collection, "access grant", " ".join(groups), lambda writer: writer.grant(*groups), as_json)


@access.command()
def revoke(context: typer.Context, groups: GroupNames, collection: Name = "default", as_json: Json = False) -> None:
    """Let groups use a collection no more."""
    with opened(context, as_json) as settings:
        _change(settings, collection, "access revoke", " ".join(groups), lambda writer: writer.revoke(*groups), as_json)


@access.command()
def restrict(
    context: typer.Context,
    paths: Annotated[list[str], typer.Argument(metavar="PATH|ID...", help="Files, folders, or ids of documents.")],
    group: Groups = None,
    lift: Annotated[bool, typer.Option("--lift", help="Restrict them no more.")] = False,
    collection: Name = "default",
    as_json: Json = False,
) -> None:
    """Leave what lies at or below PATH to groups, in place of those it was left to before."""
    if bool(group) == lift:
        raise typer.BadParameter("Give --group, or --lift: one of the two.")
    with opened(context, as_json) as settings:
        said = " ".join([*paths, *(f"--group {name}" for name in group or ()), *(["--lift"] if lift else [])])
        sources = _sources(settings, collection, paths)
        change = partial(_restrict, group or (), sources)
        _change(settings, collection, "access restrict", said, change, as_json)


def _restrict(groups: Sequence[str], sources: Sequence[str], writer: "Writer") -> None:
    writer.restrict(groups, *sources)


def show_audit(settings: "Settings", limit: int, as_json: bool) -> None:
    """Print the newest entries of the audit log, newest first."""
    from dataclasses import asdict

    from app.audit import Audit
    from app.database import Database
    from app.display import show, show_table
    from app.door import emit

    entries = Audit(Database(settings.home)).last(limit)
    if as_json:
        return emit({"entries": [asdict(entry) for entry in entries]})
    if not entries:
        return show("Nothing was changed yet.")
    columns = ("at", "who", "action", "collection", "what", "outcome")
    return show_table(columns, [[getattr(entry, column) for column in columns] for entry in entries])


def _sources(settings: "Settings", name: str, paths: Sequence[str]) -> list[str]:
    """The files of documents that are named by their ids; every other name is a path, whether it exists yet or not."""
    from pathlib import Path

    from app.wiring import open_collection
    from indexer.load import source_of

    truth = open_collection(settings, name).generation.truth
    return [source for path in paths for source in (truth.sources_of(path) or [source_of(Path(path))])]


def _change(
    settings: "Settings", name: str, action: str, said: str, change: "Callable[[Writer], None]", as_json: bool
) -> None:
    from app.audit import Audit, local_user
    from app.database import Database
    from app.display import note
    from app.wiring import open_collection

    collection = open_collection(settings, name)
    with (
        Audit(Database(settings.home)).recorded(local_user(), action, name, said),
        collection.writer(note, command=action, timeout_s=settings.indexer.lock_wait_s) as writer,
    ):
        change(writer)
    _show(collection, as_json)


def _show(collection: "Collection", as_json: bool) -> None:
    from app.display import show, show_table
    from app.door import emit
    from indexer.store.rules import NOBODY

    rules = collection.rules()
    restrictions = [{"path": path, "groups": sorted(names - {NOBODY})} for path, names in rules.restrictions.items()]
    if as_json:
        return emit({"collection": collection.name, "granted": sorted(rules.granted), "restrictions": restrictions})
    granted = ", ".join(sorted(rules.granted)) or "no group; keys without groups use it by its name"
    show(f"Collection '{collection.name}' is granted to {granted}")
    if not restrictions:
        return show("Nothing in it is restricted")
    rows = [(each["path"], ", ".join(each["groups"]) or "nobody") for each in restrictions]
    return show_table(("path", "only for"), rows)
