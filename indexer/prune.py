"""Which documents go because their file is gone, and when not to believe that it is."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from indexer.document import INSIDE
from indexer.errors import ConfigError
from indexer.ledger import holding
from indexer.load import source_of
from indexer.sources import Candidate, is_gone
from indexer.store.truth import Truth

_MANY, _SHARE = 10, 4  # documents, or one in so many of them, that a folder left standing may not lose unasked
_REMEDY = "Is a disk not mounted? If they are to go, run `footnote ingest PATH --prune --force`."


def gone_below(truth: Truth, roots: Sequence[str]) -> list[str]:
    """List what collection and ledger know at or below these paths and what is no longer on disk, in order."""
    rows = truth.files()
    holders = holding(rows)
    known = {source for _, source in truth.sources()} | {row.path for row in rows}
    return sorted(source for source in known if _is_below(source, roots) and is_gone(source, holders))


def refuse_emptied(truth: Truth, paths: Sequence[Path], candidates: Sequence[Candidate]) -> None:
    """Refuse to prune where a disk may not be mounted.

    That is a path that is missing or holds no file at all, and a folder below it that still stands but holds nothing to
    read: a mount point without its disk. A folder that was removed itself is gone, and so is one from which the files
    moved elsewhere, as their sizes tell; few documents among many are not worth a question.

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
                f"{path} {state}, and pruning would remove the {len(documents)} documents that came from there", _REMEDY
            )
    roots = [source_of(path) for path in paths]
    below = [(id_, source) for id_, source in truth.sources() if _is_below(source, roots)]
    lost = _lost(truth, [source for _, source in below], roots, candidates)
    documents = {id_ for id_, source in below if source in lost} - {id_ for id_, source in below if source not in lost}
    share = len({id_ for id_, _ in below}) / _SHARE
    if len(documents) >= _MANY or 1 < len(documents) >= share:
        folder = min(lost.values())
        raise ConfigError(
            f"{folder} holds nothing to read any more, and pruning would remove {len(documents)} documents", _REMEDY
        )


def _lost(
    truth: Truth, sources: Sequence[str], roots: Sequence[str], candidates: Sequence[Candidate]
) -> dict[str, str]:
    """The sources that are gone, did not move, and were below a folder that stands empty; with that folder."""
    rows = {row.path: row for row in truth.files()}
    holders = holding(rows.values())
    alive = {str(folder) for candidate in candidates for folder in Path(candidate.source).parents}
    new = Counter(candidate.bytes for candidate in candidates if candidate.source not in rows)
    lost = {}
    for source in sources:
        if not is_gone(source, holders):
            continue
        size = rows[source].bytes if source in rows else 0
        if new[size] > 0:
            new[size] -= 1
            continue
        standing = next((str(folder) for folder in Path(source).parents if folder.is_dir()), "")
        if standing not in alive and standing not in roots:
            lost[source] = standing
    return lost


def holds_files(path: Path) -> bool:
    """Tell whether a path is a file, or a folder with a file somewhere in it."""
    return path.is_file() or any(files for _, _, files in os.walk(path))


def _is_below(source: str, roots: Sequence[str]) -> bool:
    return any(source == root or source.startswith((root.rstrip("/") + "/", root + INSIDE)) for root in roots)
