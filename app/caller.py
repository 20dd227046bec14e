"""Who asks: what they may do, which collections they may use, and whose documents they may read there.

Both doors, the API and the page, ask of a caller and of nothing else. A caller owns what it leaves behind
(conversations, thumbs, uploads) by its id.
"""

import hashlib
from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path

from app.api.keys import SCOPES, Key, Scope
from indexer.access import FULL, Access
from indexer.collection import Collection
from indexer.errors import FootnoteError


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with rights."""

    id: str  # of the key or the person; empty where nobody is asked
    scopes: tuple[str, ...]
    collections: tuple[str, ...] | None = None  # by name; None names none and, unless `by_groups`, leaves all of them
    groups: frozenset[str] = frozenset()
    by_groups: bool = False  # whether only what is granted to a group, or named, may be used

    @property
    def is_admin(self) -> bool:
        return "admin" in self.scopes

    @property
    def access(self) -> Access:
        """Whose documents the caller may read."""
        return FULL if self.is_admin else Access(self.groups)

    @property
    def folder(self) -> str:
        """A name for a folder of the caller's own files, which an id may not be."""
        return hashlib.sha256(self.id.encode()).hexdigest()[:16]

    def may(self, scope: Scope) -> bool:
        """Whether the caller may read, ingest or do everything."""
        return scope in self.scopes or self.is_admin

    def may_use(self, name: str, granted: Set[str]) -> bool:
        """Whether a collection is within reach, `granted` being the groups that it is granted to."""
        if self.collections is not None:
            return name in self.collections or bool(self.groups & granted)
        return not self.by_groups or self.is_admin or bool(self.groups & granted)


ANYBODY = Caller("", SCOPES)


def caller_of(key: Key) -> Caller:
    """Somebody who holds a key: its collections, or those granted to its groups; with neither, every collection."""
    groups = frozenset(key.groups)
    return Caller(key.id, key.scopes, key.collections, groups, by_groups=bool(groups))


def may_use(caller: Caller, name: str, home: Path, opened: Callable[[str], Collection]) -> bool:
    """Whether a collection of a home is within reach; `opened` gives the collection of a name."""
    if caller.may_use(name, frozenset()):
        return True
    if not caller.groups or name not in Collection.list(home):
        return False
    try:
        return caller.may_use(name, opened(name).rules().granted)
    except FootnoteError:  # a damaged collection grants nothing
        return False


def uploads_of(caller: Caller, folder: Path, collection: Collection | None) -> Path:
    """Where a caller's uploads to a collection are kept, below the folder of all of them; None where there is none yet.

    Callers with groups have a folder of their own, and all but admins do where anything is restricted: a file of theirs
    can neither replace one that is hidden from them nor tell by its name that there is one.
    """
    if caller.is_admin or collection is None:
        return folder
    return folder / caller.folder if caller.groups or collection.rules().restrictions else folder
