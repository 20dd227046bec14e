"""Which documents go because their file is gone, and when not to believe that it is."""

import os
from collections.abc import Sequence
from pathlib import Path

from indexer.document import INSIDE
from indexer.errors import ConfigError
from indexer.load import source_of
from indexer.sources import is_gone
from indexer.store.truth import Truth


def gone_below(truth: Truth, roots: Sequence[str]) -> list[str]:
    """List what collection and ledger know at or below these paths and what is no longer on disk, in order."""
    known = {source for _, source in truth.sources()} | {row.path for row in truth.files()}
    return sorted(source for source in known if _is_below(source, roots) and is_gone(source))


def refuse_emptied(truth: Truth, paths: Sequence[Path]) -> None:
    """Refuse to prune below a path that is missing or holds no file at all: a disk may not be mounted.

    Raises:
        ConfigError: it is so, and the collection has documents from there.
    """
    for path in paths:
        if holds_files(path):
            continue
        root = source_of(path)
        documents = {id_ for id_, source in truth.sources() if _is_below(source, [root])}
        if documents:
            state = "holds no file" if path.is_dir() else "is missing"
            raise ConfigError(
                f"{path} {state}, and pruning would remove the {len(documents)} documents that came from there",
                "Is a disk not mounted? If they are to go, run `footnote ingest PATH --prune --force`.",
            )


def holds_files(path: Path) -> bool:
    """Tell whether a path is a file, or a folder with a file somewhere in it."""
    return path.is_file() or any(files for _, _, files in os.walk(path))


def _is_below(source: str, roots: Sequence[str]) -> bool:
    return any(source == root or source.startswith((root.rstrip("/") + "/", root + INSIDE)) for root in roots)
