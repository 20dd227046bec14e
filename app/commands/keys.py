"""`keys`: who may use the HTTP API, and for what."""

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.options import Json
from app.door import opened

if TYPE_CHECKING:
    from app.api.keys import Key, Keys
    from app.audit import Audit
    from app.settings import Settings

keys = typer.Typer(help="Make, list and end keys for the HTTP API.", no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(metavar="ID", help="As `keys list` shows it.")]


class Scope(StrEnum):
    """What a key may do."""

    read = "read"
    ingest = "ingest"
    admin = "admin"


@keys.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose or what it is for.")],
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; several times for several.", show_default="read")
    ] = None,
    collection: Annotated[
        list[str] | None,
        typer.Option("--collection", "-c", metavar="NAME", help="Only this one; several times.", show_default="all"),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            "-g",
            metavar="GROUP",
            help="Finds what is restricted to this group; without --collection uses only what is granted to one.",
            show_default="none",
        ),
    ] = None,
    days: Annotated[
        float | None, typer.Option(min=0, help="After how many days it ends, 36500 at most.", show_default="never")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a key. It is shown once; after the first one every request needs a key."""
    with opened(context, as_json) as settings:
        from app.audit import local_user

        scopes = [one.value for one in scope or [Scope.read]]
        key, secret = _store(settings).create(name, scopes, collection or None, days, group or ())
        _audit(settings).record(local_user(), "key create", "", f"{key.id} {key.name}: {', '.join(key.scopes)}")
        _show_secret(key, secret, as_json)


@keys.command("list")
def list_keys(context: typer.Context, as_json: Json = False) -> None:
    """Show every key there ever was, but not the secrets."""
    with opened(context, as_json) as settings:
        from app.display import show, show_table
        from app.door import emit

        found = [_told(key) for key in _store(settings).list()]
        if as_json:
            return emit({"keys": found})
        if not found:
            return show("There are no keys: the API serves this machine alone, and asks nobody.")
        columns = ("id", "name", "state", "scopes", "collections", "groups", "created_at", "expires_at")
        return show_table(columns, [[_cell(key[column]) for column in columns] for key in found])


@keys.command()
def revoke(context: typer.Context, key_id: KeyId, as_json: Json = False) -> None:
    """End a key at once and for good."""
    with opened(context, as_json) as settings:
        from app.audit import local_user
        from app.display import show
        from app.door import emit

        with _audit(settings).recorded(local_user(), "key revoke", "", key_id):
            key = _told(_store(settings).revoke(key_id))
        if as_json:
            return emit({"key": key})
        return show(f"The key {key['id']} ({key['name']}) is revoked.")


@keys.command()
def rotate(context: typer.Context, key_id: KeyId, as_json: Json = False) -> None:
    """Give a key another secret; the old one ends at once."""
    with opened(context, as_json) as settings:
        from app.audit import local_user

        with _audit(settings).recorded(local_user(), "key rotate", "", key_id):
            key, secret = _store(settings).rotate(key_id)
        _show_secret(key, secret, as_json)


def _store(settings: "Settings") -> "Keys":
    from app.api.keys import Keys
    from app.database import Database

    return Keys(Database(settings.home))


def _audit(settings: "Settings") -> "Audit":
    from app.audit import Audit
    from app.database import Database

    return Audit(Database(settings.home))


def _show_secret(key: "Key", secret: str, as_json: bool) -> None:
    from app.display import note, show
    from app.door import emit

    if as_json:
        return emit({"key": _told(key), "secret": secret})
    note(f"The key {key.id} ({key.name}) may {', '.join(key.scopes)}. It is shown only now:")
    return show(secret, wrap=False)


def _told(key: "Key") -> dict[str, Any]:
    return {**asdict(key), "state": key.state}


def _cell(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else "" if value is None else str(value)
