"""What every loader returns: text before cleaning."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extract:
    """Markdown-like text: `#` headings, `- ` lists, pipe tables, fenced code."""

    parts: tuple[str, ...]  # one text a page, or a single one when the format has no pages
    title: str = ""  # empty when the file does not name itself
    metadata: tuple[tuple[str, str], ...] = ()
    paged: bool = False
