"""Who may read what: the groups of a caller, and what a collection asks for.

A collection is granted to groups. A restriction is a path and groups: what lies at or below the path is found only by
a caller with one of them, and where several restrictions meet on a document, each must let the caller through, so that
one more never opens anything. Paths stay restricted when their documents go and come back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from indexer.errors import ConfigError

MAX_GROUP_CHARS = 200


@dataclass(frozen=True, slots=True)
class Access:
    """What one caller may read of a collection; `groups` is None for whoever owns the machine: nothing is hidden."""

    groups: frozenset[str] | None

    @property
    def is_full(self) -> bool:
        """Whether no restriction holds this caller back."""
        return self.groups is None


FULL = Access(None)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a collection asks of its callers."""

    granted: frozenset[str] = frozenset()  # groups that may use it at all
    restrictions: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))  # by path


def check_groups(names: Iterable[str]) -> tuple[str, ...]:
    """Give the names of groups once each, in order.

    Raises:
        ConfigError: one is empty, too long, or has signs that cannot be seen.
    """
    checked = sorted(set(names))
    for name in checked:
        if not name.strip() or name != name.strip() or len(name) > MAX_GROUP_CHARS or not name.isprintable():
            raise ConfigError(
                f'"{name[:80]}" cannot be the name of a group',
                f"Use 1 to {MAX_GROUP_CHARS} characters that can be printed, with none blank at the ends.",
            )
    return tuple(checked)
