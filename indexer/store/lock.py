"""One writer a collection: a lock between processes and threads that says who holds it."""

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from indexer.errors import IndexError_
from indexer.store.disk import read_json

_log = logging.getLogger(__name__)
_POLL_S = 0.05
_NAMELESS_S = 3.0  # between two holders there is a moment without a name
_SILENT_S = 0.5  # a reader that catches up holds the lock for a moment: not worth a word


@dataclass(frozen=True, slots=True)
class Holder:
    """Who writes to a collection."""

    command: str
    pid: int
    since: float  # seconds since 1970

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid}, since {datetime.fromtimestamp(self.since).strftime('%H:%M')})"


class WriteLock:
    """The kernel drops the lock when its holder dies, so a kill never leaves a collection locked."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / "write.lock"
        self._note = folder / "writer.json"  # who holds it; only ever shown to a person
        self._name = name

    @contextlib.contextmanager
    def held(
        self, command: str, timeout_s: float = 3600.0, on_wait: Callable[[str], None] | None = None
    ) -> Iterator[None]:
        """Hold the lock; while another holds it, tell `on_wait` who, once for each holder.

        Raises:
            IndexError_: it was not free within `timeout_s`.
        """
        began, told = time.monotonic(), ""
        while not (release := self._acquire()):
            name = str(self._noted() or "")
            holder = f"another {name or 'process'} is writing to collection '{self._name}'"
            waited_s = time.monotonic() - began
            if waited_s >= timeout_s:
                raise IndexError_(f"{holder}; gave up after {timeout_s:g} s", "Wait until it ends, then run it again.")
            if holder != told and waited_s >= (_SILENT_S if name else _NAMELESS_S):
                told = holder
                (on_wait or _log.warning)(f"{holder}; waiting")
            time.sleep(_POLL_S)
        try:
            with contextlib.suppress(OSError):  # a full disk must not keep anyone from deleting
                self._note.write_text(json.dumps({"pid": os.getpid(), "command": command, "since": time.time()}))
            yield
        finally:
            with contextlib.suppress(OSError):
                self._note.unlink()
            release()

    @contextlib.contextmanager
    def free(self) -> Iterator[bool]:
        """Hold the lock if nobody does; yields whether it is held. Never waits."""
        try:
            release = self._acquire()
        except IndexError_:  # a read-only folder has no writers to meet, and nothing to catch up with
            release = None
        try:
            yield release is not None
        finally:
            if release:
                release()

    def holder(self) -> Holder | None:
        """Who holds the lock now; None where nobody does, or somebody who has not said so yet."""
        if (found := self._noted()) is None:
            return None
        with self.free() as is_free:  # a holder that was killed leaves its note behind
            return None if is_free else found

    def _acquire(self) -> Callable[[], None] | None:
        from filelock import FileLock, Timeout

        lock = FileLock(self._path, timeout=0)  # a new object each time: a shared one would let its own thread in twice
        try:
            lock.acquire()
        except Timeout:
            return None
        except OSError as error:
            raise IndexError_(
                f"Cannot lock {self._path}: {error.strerror}", "Check the folder's permissions."
            ) from error
        return lock.release

    def _noted(self) -> Holder | None:
        note = read_json(self._note) or {}
        try:
            return Holder(str(note["command"]), int(note["pid"]), float(note["since"]))
        except (KeyError, TypeError, ValueError):
            return None
