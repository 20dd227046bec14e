"""What a word that somebody typed names among the sources of a collection."""

import fnmatch
import os
from collections.abc import Iterable
from pathlib import Path

from indexer.document import INSIDE


def named_by(pattern: str, sources: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return those (id, source) that a document id (all its sources), a path, a folder or a glob names."""
    absolute = os.path.abspath(pattern)  # noqa: PTH100 - links stay as they were given
    if not pattern.strip():
        return []
    folder = absolute.rstrip("/") + "/"
    is_glob = any(sign in pattern for sign in "*?[")
    return [
        (document_id, source)
        for document_id, source in sources
        if pattern in (document_id, source)
        or source == absolute
        or source.startswith(folder)
        or (source.startswith(absolute + INSIDE) and not os.path.lexists(source))  # else it lies in a folder x!
        or (is_glob and (fnmatch.fnmatchcase(source, absolute) or fnmatch.fnmatchcase(Path(source).name, pattern)))
    ]
