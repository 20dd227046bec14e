"""Watcher: what changed in some folders since the last look, once it has come to rest.

Folders are looked at by os.scandir, again and again. The kernel's notifications would be quicker than a second, but
they do not come from network shares and many containers' mounts, are lost when their queue is full, and need a full
look after each loss anyway. Date, size and inode only say which files to read; what counts is their content.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from indexer.ingest import Task
from indexer.load import source_of
from indexer.sources import Candidate, LeftOut, judge

_Stamp = tuple[int, int, int]  # mtime in ns, bytes, inode


class Watcher:
    """Looks when it is told to. A change is due when two looks in a row saw the same: no file is read half-written."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = [os.path.abspath(folder) for folder in folders]  # noqa: PTH100 - links stay as they were given
        self._known = self._last = self._look()
        self._due: dict[str, _Stamp | None] = {}
        self.lost: tuple[str, ...] = ()  # folders that lost every file at once: nothing of theirs is taken for gone

    def poll(self) -> Task | None:
        """Look, and say what is to be done; None when nothing is due. It stays due until done() is called."""
        seen = self._look()
        changed = {
            path: seen.get(path) for path in self._known.keys() | seen.keys() if self._known.get(path) != seen.get(path)
        }
        due = {path: stamp for path, stamp in changed.items() if stamp == self._last.get(path)}
        self._last = seen
        self.lost = tuple(
            folder for folder in self._folders if _any_below(self._known, folder) and not _any_below(seen, folder)
        )
        self._due = {
            path: stamp for path, stamp in due.items() if stamp or not any(_is_below(path, root) for root in self.lost)
        }
        return _task(self._due) if self._due else None

    def done(self) -> None:
        """Take the changes of the last poll as dealt with."""
        for path, stamp in self._due.items():
            if stamp is None:
                self._known.pop(path, None)
            else:
                self._known[path] = stamp
        self._due = {}

    def _look(self) -> dict[str, _Stamp]:
        return {path: stamp for folder in self._folders for path, stamp in _scan(folder)}


def _scan(folder: str) -> Iterator[tuple[str, _Stamp]]:
    """Walk as find_sources does: hidden things and links are left out."""
    try:
        entries = list(os.scandir(folder))
    except OSError:  # gone, or not to be read: pruning asks again for each file
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.is_symlink():
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _scan(entry.path)
            continue
        try:
            stat = entry.stat(follow_symlinks=False)
        except OSError:  # gone since
            continue
        yield entry.path, (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def _task(due: dict[str, _Stamp | None]) -> Task:
    found = [judge(Path(path)) for path, stamp in sorted(due.items()) if stamp]
    return Task(
        [item for item in found if isinstance(item, Candidate)],
        [item for item in found if isinstance(item, LeftOut)],
        [source_of(Path(path)) for path, stamp in sorted(due.items()) if stamp is None],
    )


def _any_below(paths: dict[str, _Stamp], folder: str) -> bool:
    return any(_is_below(path, folder) for path in paths)


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")
