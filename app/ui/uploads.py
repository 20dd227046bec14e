"""Files dropped on the page: where they are kept, under which names, and the thread that indexes them."""

import logging
import os
import re
import tempfile
import threading
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from indexer.errors import FootnoteError

logger = logging.getLogger(__name__)

MAX_NAME_BYTES, MAX_SUFFIX_BYTES = 200, 16  # file systems stop at 255; some is left for the temporary name
_UNSAFE = re.compile(r'[<>:"|?*]')


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file; `state` is one of indexed, unchanged, failed, skipped."""

    name: str
    state: str
    reason: str = ""


Report = Callable[[int, int, str], None]  # files done, files in all, what is being done
Work = Callable[[Report], Sequence[Outcome]]


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


class Upload:
    """Indexing of uploaded files in a thread of its own, so that a touch of the page does not cut it off."""

    def __init__(self, collection: str, names: Sequence[str]) -> None:
        self.collection = collection
        self.names = tuple(names)
        self.outcomes: tuple[Outcome, ...] = ()
        self.failure: FootnoteError | None = None
        self.finished = 0
        self.total = len(names)
        self.doing = "Saving"
        self.done = False
        self._thread: threading.Thread | None = None

    def start(self, work: Work) -> None:
        self._thread = threading.Thread(target=self._work, args=(work,), name="footnote-upload", daemon=True)
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        if self._thread:
            self._thread.join(timeout_s)

    def _report(self, finished: int, total: int, doing: str) -> None:
        self.finished, self.total, self.doing = finished, total, doing

    def _work(self, work: Work) -> None:
        try:
            self.outcomes = tuple(work(self._report))
        except FootnoteError as error:
            self.failure = error
        except OSError as error:
            self.failure = FootnoteError(f"The files could not be saved: {error.strerror}.", "Is the disk full?")
        except Exception:
            logger.exception("an upload failed")
            self.failure = FootnoteError("Something went wrong inside Footnote.", "The server's log has the details.")
        finally:
            self.done = True
