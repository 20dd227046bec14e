"""One question on its way to an answer, worked on in a thread of its own.

Streamlit throws a script run away whenever the reader touches the page. The work on a question therefore lives
outside the run: a run that begins while an answer is being written takes up watching where the last one stopped, and
nothing is encoded, searched or generated twice. A reload is a new session of Streamlit's: it finds the turns that are
not finished among the live ones, and the finished ones in the store.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from app.conversations import TurnRecord
from app.feedback import Thumb
from app.withheld import IsThere, of_answer
from generator.answer import Answer
from generator.pipeline import Done, Event, Found, Stage, Token
from indexer.errors import FootnoteError
from retriever.hit import Hit

logger = logging.getLogger(__name__)

_INTERNAL = FootnoteError(
    "Something went wrong inside Footnote while answering.", "The log of the server has the details. Please ask again."
)
_NOT_KEPT = FootnoteError("This answer could not be stored.", "The log of the server has the details.")
_CUT_OFF = FootnoteError("This answer was cut off when the page's server ended.", "Regenerate it.")

Ask = Callable[[], Iterator[Event]]
Keep = Callable[[TurnRecord], TurnRecord]  # stores a record, and returns it as it was stored


class Turn:
    """A question, what is known of its answer so far, and the thread that works on it."""

    def __init__(self, question: str, query: str | None = None, id_: str = "", filters: tuple[str, ...] = ()) -> None:
        self.id = id_
        self.filters = filters  # which documents are asked
        self.question = question
        self.query = query  # the question in words that need no conversation, where the reader gave it
        self.steps: list[tuple[str, float]] = []  # stages so far, and when each began (monotonic seconds)
        self.text = ""  # as it streams; markers in it are not yet checked
        self.hits: tuple[Hit, ...] = ()
        self.answer: Answer | None = None
        self.failure: FootnoteError | None = None
        self.stopped = False
        self.done = False
        self.elapsed_s = 0.0
        self.kept: TurnRecord | None = None  # as it is stored
        self.unkept: FootnoteError | None = None  # why it is not
        self.thumb: Thumb | None = None
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._version = 0

    @property
    def started(self) -> bool:
        return self._thread is not None

    @property
    def running(self) -> bool:
        return self.started and not self.done

    @property
    def stage(self) -> str:
        """What is being done."""
        return self.steps[-1][0] if self.steps else ""

    def start(self, ask: Ask, keep: Keep | None = None) -> None:
        """Begin to work, once: `ask` gives the events of the pipeline and runs wholly in the new thread; `keep` is
        given what came of them, before the turn is done."""
        with self._changed:
            if self.started:  # another tab shows the same conversation
                return
            self._thread = threading.Thread(target=self._work, args=(ask, keep), name="footnote-turn", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to stop at the next event; what was written so far stays."""
        self.stopped = True

    def wait(self, seen: int, timeout_s: float) -> int:
        """Sleep until something is newer than version `seen`, at most `timeout_s`. Returns the version now."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != seen, timeout_s)
            return self._version

    def withhold(self, is_there: IsThere) -> None:
        """Let go of the words of documents that are gone; of an answer that is still written, when it is."""
        if not self.done:
            return
        if self.answer:
            self.answer = of_answer(self.answer, is_there)
        self.hits = tuple(hit for hit in self.hits if is_there(hit.chunk.document_id))

    def _work(self, ask: Ask, keep: Keep | None) -> None:
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
            if keep:
                self._keep(keep)
            self.done = True
            _live.pop(self.id, None)
            self._tell()

    def _keep(self, keep: Keep) -> None:
        failure = (self.failure.message, self.failure.remedy) if self.failure else None
        record = TurnRecord(
            id=self.id,
            question=self.question,
            query=self.query,
            done=True,
            stopped=self.stopped,
            text="" if self.answer else self.text,
            hits=() if self.answer else self.hits,
            answer=self.answer,
            failure=failure,
            elapsed_s=self.elapsed_s,
            filters=self.filters,
        )
        try:
            self.kept = keep(record)
        except FootnoteError as error:
            logger.warning("an answer is not kept: %s", error.message)
            self.unkept = error
        except Exception:
            logger.exception("an answer is not kept")
            self.unkept = _NOT_KEPT

    def _take(self, event: Event) -> None:
        if isinstance(event, Stage):
            self.steps.append((event.name, time.monotonic()))
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


_live: dict[str, Turn] = {}  # asked in this process and not done, by id; single operations of a dict are thread-safe


def begin(record: TurnRecord) -> Turn:
    """The turn of a question that was just asked."""
    turn = Turn(record.question, record.query, record.id, record.filters)
    _live[record.id] = turn
    return turn


def restore(read: Callable[[], Sequence[TurnRecord]]) -> list[Turn]:
    """The turns of stored questions: those that are worked on in this process, and the others as they ended."""
    live = dict(_live)  # before reading: one that ends meanwhile is found here, or is done in the store
    return [_restored(record, live) for record in read()]


def _restored(record: TurnRecord, live: Mapping[str, Turn]) -> Turn:
    if not record.done and record.id in live:
        return live[record.id]
    turn = Turn(record.question, record.query, record.id, record.filters)
    turn.done, turn.stopped, turn.elapsed_s = True, record.stopped, record.elapsed_s
    turn.text, turn.answer = record.text, record.answer
    turn.hits = record.answer.hits if record.answer else record.hits
    if record.failure or not record.done:
        turn.failure = FootnoteError(*record.failure) if record.failure else _CUT_OFF
    turn.kept = record if record.done else None
    return turn
