"""One question on its way to an answer, worked on in a thread of its own.

Streamlit throws a script run away whenever the reader touches the page. The work on a question therefore lives
outside the run: a run that begins while an answer is being written takes up watching where the last one stopped, and
nothing is encoded, searched or generated twice.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator

from generator.answer import Answer
from generator.pipeline import Done, Event, Found, Stage, Token
from indexer.errors import FootnoteError
from retriever.hit import Hit

logger = logging.getLogger(__name__)

_INTERNAL = FootnoteError(
    "Something went wrong inside Footnote while answering.", "The log of the server has the details. Please ask again."
)


class Turn:
    """A question, what is known of its answer so far, and the thread that works on it."""

    def __init__(self, question: str, query: str | None = None) -> None:
        self.question = question
        self.query = query  # the question in words that need no conversation, where the reader gave it
        self.stage = ""
        self.text = ""  # as it streams; markers in it are not yet checked
        self.hits: tuple[Hit, ...] = ()
        self.answer: Answer | None = None
        self.failure: FootnoteError | None = None
        self.stopped = False
        self.done = False
        self.elapsed_s = 0.0
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._version = 0

    @property
    def started(self) -> bool:
        return self._thread is not None

    @property
    def running(self) -> bool:
        return self.started and not self.done

    def start(self, ask: Callable[[], Iterator[Event]]) -> None:
        """Begin to work; `ask` gives the events of the pipeline and runs wholly in the new thread."""
        self._thread = threading.Thread(target=self._work, args=(ask,), name="footnote-turn", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to stop at the next event; what was written so far stays."""
        self.stopped = True

    def wait(self, seen: int, timeout_s: float) -> int:
        """Sleep until something is newer than version `seen`, at most `timeout_s`. Returns the version now."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != seen, timeout_s)
            return self._version

    def _work(self, ask: Callable[[], Iterator[Event]]) -> None:
        began = time.monotonic()
        try:
            for event in ask():
                if self.stopped:
                    break
                self._take(event)
        except FootnoteError as error:
            self.failure = error
        except Exception:
            logger.exception("a question failed")
            self.failure = _INTERNAL
        finally:
            self.elapsed_s = time.monotonic() - began
            self.done = True
            self._tell()

    def _take(self, event: Event) -> None:
        if isinstance(event, Stage):
            self.stage = event.name
        elif isinstance(event, Token):
            self.text += event.text
        elif isinstance(event, Found):
            self.hits = event.hits
        elif isinstance(event, Done):
            self.answer, self.hits = event.answer, event.answer.hits
        self._tell()

    def _tell(self) -> None:
        with self._changed:
            self._version += 1
            self._changed.notify_all()
