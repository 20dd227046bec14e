"""What every loader returns: text before cleaning."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside a file. `read` unpacks it, and raises DocumentError when that cannot or should not be done."""

    name: str
    read: Callable[[], bytes]
    left_out: str = ""  # why it is not to be read at all


@dataclass(frozen=True, slots=True)
class Extract:
    """Markdown-like text: `#` headings, `- ` lists, pipe tables, fenced code."""

    parts: tuple[str, ...]  # one text a page, or a single one when the format has no pages
    title: str = ""  # empty when the file does not name itself
    metadata: tuple[tuple[str, str], ...] = ()
    paged: bool = False
    members: tuple[Member, ...] = ()  # of an archive, or the attachments of a mail
