"""API keys: who may do what in which collection. The key itself is shown once; its SHA-256 is what is kept.

A key holds 256 random bits, which nobody can try out: a slow hash, as passwords need it, would add nothing.
"""

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from app.database import Database
from indexer.access import check_groups
from indexer.collection import check_name
from indexer.errors import ConfigError
from indexer.store.changes import now

Scope = Literal["read", "ingest", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
MAX_DAYS = 36_500  # a hundred years: no calendar holds any number of days
_MAX_NAME_CHARS = 200
_COLUMNS = "id, name, scopes, collections, created_at, expires_at, revoked_at, groups"


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key; `collections` is None for all of them."""

    id: str
    name: str
    scopes: tuple[str, ...]
    collections: tuple[str, ...] | None
    created_at: str  # ISO 8601, UTC, as the next two
    expires_at: str | None
    revoked_at: str | None
    groups: tuple[str, ...] = ()  # whose documents it reads, and whose collections it uses where it names none

    @property
    def state(self) -> str:
        """active, expired or revoked."""
        if self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at and datetime.fromisoformat(self.expires_at) <= _utc() else "active"


class Keys:
    """The keys of one home. Every call asks the file, so that a revoked key stops at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        name: str,
        scopes: Sequence[str],
        collections: Sequence[str] | None = None,
        days: float | None = None,
        groups: Sequence[str] = (),
    ) -> tuple[Key, str]:
        """Make a key; returns it and the secret that is shown once.

        Raises:
            ConfigError: a scope is unknown, or there is none; the key's name is none, or one cannot be that of a
                collection or a group; there are too many days.
        """
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            raise ConfigError(
                f"There is no scope {', '.join(unknown) or 'named'}.", f"Name some of {', '.join(SCOPES)}."
            )
        _check(name, collections or (), days)
        id_ = secrets.token_hex(4)
        secret = _secret(id_)
        expires = (_utc() + timedelta(days=days)).isoformat(timespec="seconds") if days is not None else None
        allowed = None if collections is None else json.dumps(sorted(set(collections)))
        named = json.dumps(check_groups(groups))
        row = (id_, name, _hash(secret), json.dumps(sorted(set(scopes))), allowed, now(), expires, named)
        with self._database.connected() as db:
            db.execute(
                "INSERT INTO key (id, name, hash, scopes, collections, created_at, expires_at, groups)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        return self._get(id_), secret

    def list(self) -> list[Key]:
        """Every key there ever was, oldest first."""
        with self._database.connected() as db:
            return [_key(row) for row in db.execute(f"SELECT {_COLUMNS} FROM key ORDER BY rowid")]

    def revoke(self, id_: str) -> Key:
        """End a key for good. Raises ConfigError where there is none of that id."""
        self._get(id_)
        with self._database.connected() as db:
            db.execute("UPDATE key SET revoked_at = ifnull(revoked_at, ?) WHERE id = ?", (now(), id_))
        return self._get(id_)

    def rotate(self, id_: str) -> tuple[Key, str]:
        """Give a key another secret; the old one ends at once. Raises ConfigError where it is none, or not active."""
        key = self._get(id_)
        if key.state != "active":
            raise ConfigError(f"The key {id_} is {key.state}.", "Make a new one: `footnote keys create`.")
        secret = _secret(id_)
        with self._database.connected() as db:
            db.execute("UPDATE key SET hash = ? WHERE id = ?", (_hash(secret), id_))
        return key, secret

    def find(self, secret: str) -> Key | None:
        """The active key that a secret belongs to."""
        with self._database.connected() as db:
            row = db.execute(f"SELECT {_COLUMNS} FROM key WHERE hash = ?", (_hash(secret),)).fetchone()
        key = _key(row) if row else None
        return key if key and key.state == "active" else None

    def exist(self) -> bool:
        """Whether a key was ever made: the last one's end must not open the door to all."""
        with self._database.connected() as db:
            return db.execute("SELECT 1 FROM key LIMIT 1").fetchone() is not None

    def _get(self, id_: str) -> Key:
        with self._database.connected() as db:
            row = db.execute(f"SELECT {_COLUMNS} FROM key WHERE id = ?", (id_,)).fetchone()
        if row is None:
            raise ConfigError(f"There is no key {id_[:40]}.", "`footnote keys list` shows them.")
        return _key(row)


def _check(name: str, collections: Sequence[str], days: float | None) -> None:
    if not name.strip() or len(name) > _MAX_NAME_CHARS or not name.isprintable():
        raise ConfigError(
            f'"{name[:80]}" cannot be the name of a key',
            f"Say whose or what it is for, in 1 to {_MAX_NAME_CHARS} characters that can be printed.",
        )
    for each in collections:  # there need not be one yet
        check_name(each)
    if days is not None and not 0 <= days <= MAX_DAYS:
        raise ConfigError(f"A key cannot end after {days:g} days", f"Name 0 to {MAX_DAYS:,}, or none for no end.")


def _key(row: Sequence[Any]) -> Key:
    id_, name, scopes, collections, created, expires, revoked, groups = row
    allowed = None if collections is None else tuple(json.loads(collections))
    return Key(id_, name, tuple(json.loads(scopes)), allowed, created, expires, revoked, tuple(json.loads(groups)))


def _secret(id_: str) -> str:
    return f"fn-{id_}-{secrets.token_urlsafe(32)}"


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def _utc() -> datetime:
    return datetime.now(UTC)
