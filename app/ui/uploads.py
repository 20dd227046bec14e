"""Files dropped on the page: where they are kept, under which names, and what became of them."""

import os
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from app.ui.jobs import Job
from indexer.collection import Collection
from indexer.document import INSIDE
from indexer.errors import IndexError_
from indexer.load import source_of
from indexer.sources import file_of

DELETING = "It will no longer answer any question. An uploaded file is removed, too; any other stays where it is."
MAX_NAME_BYTES, MAX_SUFFIX_BYTES = 200, 16  # file systems stop at 255; some is left for the temporary name
_UNSAFE = re.compile(r'[<>:"|?*]')


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file; `state` is one of indexed, unchanged, failed, skipped."""

    name: str
    state: str
    reason: str = ""


def safe_name(name: str) -> str:
    """A browser's file name as one that stays inside its folder on every system, its ending kept."""
    name = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(char for char in " ".join(name.split()) if char.isprintable())
    name = _UNSAFE.sub("_", name).strip(" .")
    suffix = PurePosixPath(name).suffix
    if len(suffix.encode()) > MAX_SUFFIX_BYTES:
        suffix = ""
    stem = name.removesuffix(suffix).encode()[: MAX_NAME_BYTES - len(suffix.encode())].decode(errors="ignore")
    return (stem.rstrip(" .") or "document") + suffix


def save(folder: Path, files: Iterable[tuple[str, bytes]]) -> list[Path]:
    """Write uploaded files, each wholly or not at all; returns their paths in order.

    A file with the name of an earlier upload replaces it, as a newer version of the same document. Two files of one
    name in one upload are two documents, and the second gets a number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    taken: set[str] = set()
    for name, content in files:
        path = folder / _untaken(safe_name(name), taken)
        taken.add(path.name.casefold())
        _write_whole(path, content)
        paths.append(path)
    return paths


def _untaken(name: str, taken: set[str]) -> str:
    path = PurePosixPath(name)
    number = 1
    while name.casefold() in taken:
        number += 1
        name = f"{path.stem} ({number}){path.suffix}"
    return name


def _write_whole(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".upload-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def discard(folder: Path, collection: Collection, sources: Iterable[str]) -> None:
    """Remove the uploaded files, below `folder`, of sources that were just taken out of a collection. Others stay where
    they are, and so does an archive or mail as long as a document lies in it.

    Raises:
        IndexError_: a file could not be removed.
    """
    left = tuple(source for _, source in collection.generation.truth.sources())
    failed = []
    for path in dict.fromkeys(map(file_of, sources)):
        source = source_of(path)
        holds = any(each == source or each.startswith(source + INSIDE) for each in left)
        if holds or not os.path.lexists(path) or not Path(source).is_relative_to(folder.resolve()):
            continue
        try:
            path.unlink()
        except OSError as error:
            failed.append(f"{source} ({error.strerror})")
    if failed:
        raise IndexError_(f"The documents are deleted, but not these uploads: {', '.join(failed)}.", "Remove them.")


class Upload(Job[Sequence[Outcome]]):
    """Indexing of files that were dropped on the page."""

    unsaved = "The files could not be saved"

    def __init__(self, collection: str, names: Sequence[str]) -> None:
        super().__init__("An upload", len(names))
        self.collection = collection
        self.names = tuple(names)
        self.doing = "Saving"

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """What became of each file; empty until the end."""
        return self.result or ()
