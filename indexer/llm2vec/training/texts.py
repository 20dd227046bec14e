"""Texts to train on without any labels: from files, or from a JSONL of texts or pairs."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.chunk import ChunkSettings, CountTokens, chunk
from indexer.errors import DatasetError, DocumentError
from indexer.llm2vec.training.pairs import read_rows
from indexer.load import load
from indexer.sources import find_sources, nothing_found

logger = logging.getLogger(__name__)

REMEDY = 'Each line is {"text": ...}, {"title": ..., "text": ...}, or a pair {"anchor": ..., "positive": ...}.'


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts, and how the model card calls the place they are from."""

    texts: tuple[str, ...]
    origin: str
    left_out: tuple[str, ...] = ()  # files that could not be read, and why


def read_documents(
    paths: Sequence[Path],
    count_tokens: CountTokens,
    max_tokens: int,
    on_file: Callable[[int, int], None] | None = None,
) -> Texts:
    """Read files and folders and cut them into passages of at most `max_tokens` tokens, at natural borders.

    A file that cannot be read is left out and named; `on_file` gets how many files are done, and of how many.

    Raises:
        ConfigError: there is nothing to read.
        DatasetError: not one of the files can be read.
    """
    candidates, skipped = find_sources(paths)
    if not candidates:
        raise nothing_found(paths, skipped)
    texts: list[str] = []
    failed: list[str] = []
    for done, candidate in enumerate(candidates, start=1):
        try:
            document = load(candidate.path)
        except DocumentError as error:
            logger.warning("left out: %s", error.message)
            failed.append(error.message)
        else:
            texts += [piece.text.strip() for piece in chunk(document, count_tokens, ChunkSettings(max_tokens))]
        if on_file:
            on_file(done, len(candidates))
    if not texts:
        raise DatasetError(f"None of the {len(candidates)} files can be read: {failed[0]}", "Name other files.")
    return Texts(distinct(texts), ", ".join(path.name for path in paths), tuple(failed))


def read_texts(path: Path) -> Texts:
    """Read the texts of a JSONL, gzipped if the name ends in .gz: both sides of pairs, a title before its text.

    Raises:
        DatasetError: the file cannot be read, a line does not parse or holds no text.
    """
    return Texts(distinct(text for number, row in read_rows(path) for text in _texts_of(path, number, row)), path.name)


def _texts_of(path: Path, number: int, row: Any) -> list[str]:
    try:
        texts = [row["anchor"], row["positive"]] if "anchor" in row else [row["text"]]
        texts = [text.strip() for text in texts]
        title = row.get("title")
        lead = [title.strip()] if isinstance(title, str) and title.strip() else []
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path}, line {number}: {error!r}", REMEDY) from error
    if not all(texts):
        raise DatasetError(f"{path}, line {number}: a text is blank.", "Leave it out.")
    return ["\n".join([*lead, text]) for text in texts]


def distinct(texts: Iterable[str]) -> tuple[str, ...]:
    """Each text once, in order of first appearance; blank ones are none."""
    return tuple(dict.fromkeys(text for text in texts if text.strip()))
