"""Stopping the work on a question from another thread, also while it waits for a model server's next word.

A thread that reads from a socket cannot be woken by closing the socket. So what is streamed is read in one event loop,
where waiting can be cancelled, and handed on to the thread that wants it.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import CancelledError
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from queue import SimpleQueue
from typing import Any, TypeVar

_T = TypeVar("_T")
_END: Any = object()


class Stopped(Exception):
    """The work was stopped, as somebody asked."""


class Stop:
    """Ends the work of one thread, when another one asks for it."""

    def __init__(self) -> None:
        self.asked = False
        self._changing = threading.Lock()
        self._ends: list[Callable[[], object]] = []

    def now(self) -> None:
        """End what is waited for, and begin nothing more. Returns at once."""
        with self._changing:
            self.asked = True
            ends = list(self._ends)
        for end in ends:
            end()

    @contextmanager
    def ending(self, end: Callable[[], object]) -> Iterator[None]:
        """Call `end` if the work is stopped inside; at once if it was stopped before."""
        with self._changing:
            self._ends.append(end)
        try:
            if self.asked:
                end()
            yield
        finally:
            with self._changing:
                self._ends.remove(end)


_current: ContextVar[Stop | None] = ContextVar("stop", default=None)


@contextmanager
def stopped_by(stop: Stop) -> Iterator[None]:
    """Let `stop` end what this thread waits for inside."""
    token = _current.set(stop)
    try:
        yield
    finally:
        _current.reset(token)


def read(items: AsyncGenerator[_T, None]) -> Generator[_T, None, None]:
    """Give what an asynchronous generator yields. Closing this, or the thread's Stop, cancels it.

    Raises:
        Stopped: the thread's Stop was asked for.
    """
    came: SimpleQueue[_T] = SimpleQueue()
    reading = asyncio.run_coroutine_threadsafe(_pass_on(items, came), _loop())
    reading.add_done_callback(lambda ended: came.put(_END))
    stop = _current.get() or Stop()
    try:
        with stop.ending(reading.cancel):
            while (item := came.get()) is not _END:
                yield item
            reading.result()
    except CancelledError:
        raise Stopped from None
    finally:
        reading.cancel()


async def _pass_on(items: AsyncGenerator[_T, None], came: "SimpleQueue[_T]") -> None:
    async with aclosing(items):
        async for item in items:
            came.put(item)


_starting = threading.Lock()
_running: list[asyncio.AbstractEventLoop] = []


def _loop() -> asyncio.AbstractEventLoop:
    """The one loop of this process: a client's connections belong to the loop that opened them."""
    with _starting:
        if not _running:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="footnote-streams", daemon=True).start()
            _running.append(loop)
        return _running[0]
