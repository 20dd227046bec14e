"""Long work in threads of the server, one at a time in each place: it outlives the page that began it."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from indexer.errors import FootnoteError

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


class Report(Protocol):
    """Takes how far the work is; without `eta_s` the time left is taken from the pace so far."""

    def __call__(self, finished: int, total: int, doing: str, eta_s: float | None = None) -> None: ...


class Job(Generic[Result]):
    """Work in a thread of its own, so that a touch of the page does not cut it off."""

    unsaved: ClassVar[str] = "A file could not be read or written"

    def __init__(self, title: str, total: int = 0) -> None:
        self.title = title
        self.owner = ""  # id of the caller who began it
        self.result: Result | None = None
        self.failure: FootnoteError | None = None
        self.finished = 0
        self.total = total
        self.doing = ""
        self.done = False
        self._eta_s: float | None = None
        self._pace = (time.monotonic(), 0, total)  # when what is counted now began, from how many of how many
        self._thread: threading.Thread | None = None

    def start(self, work: Callable[[Report], Result]) -> None:
        self._thread = threading.Thread(target=self._work, args=(work,), name="footnote-job", daemon=True)
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        if self._thread:
            self._thread.join(timeout_s)

    def left_s(self) -> float | None:
        """Seconds that it will still take, as far as that can be said."""
        began, at_first, total = self._pace
        done = self.finished - at_first
        if self._eta_s is not None or done <= 0 or self.finished >= total:
            return self._eta_s
        return (time.monotonic() - began) / done * (total - self.finished)

    def report(self, finished: int, total: int, doing: str, eta_s: float | None = None) -> None:
        if total != self.total or finished < self.finished:  # another stage
            self._pace = (time.monotonic(), finished, total)
        self.finished, self.total, self.doing, self._eta_s = finished, total, doing, eta_s

    def _work(self, work: Callable[[Report], Result]) -> None:
        try:
            self.result = work(self.report)
        except FootnoteError as error:
            self.failure = error
        except OSError as error:
            self.failure = FootnoteError(f"{self.unsaved}: {error.strerror}.", "Is the disk full?")
        except Exception:
            logger.exception("%s failed", self.title)
            self.failure = FootnoteError("Something went wrong inside Footnote.", "The server's log has the details.")
        finally:
            self.done = True


class Jobs:
    """The last job of each place (a collection, say), for every reader of this server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, Job[Any]] = {}

    def start(self, place: str, job: Job[Result], work: Callable[[Report], Result], owner: str = "") -> bool:
        """Begin a job of a caller, unless one is running in that place; tells whether it was begun."""
        with self._lock:
            if (last := self._last.get(place)) and not last.done:
                return False
            job.owner = owner
            self._last[place] = job
        job.start(work)
        return True

    def last(self, place: str) -> Job[Any] | None:
        """The job that runs in a place, or that ended there last and was not dismissed."""
        return self._last.get(place)

    def dismiss(self, place: str) -> None:
        """Forget a job that has ended."""
        with self._lock:
            if (last := self._last.get(place)) and last.done:
                del self._last[place]
