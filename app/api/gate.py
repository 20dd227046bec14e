"""So much work at once, so much in line, and a clear no to the rest."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.api.errors import ApiError

_T = TypeVar("_T")
_RETRY_AFTER_S = 5


class Gate:
    """Runs blocking work in threads. A thread's place is free when its work has ended, not when its caller has gone."""

    def __init__(self, running: int, waiting: int, wait_s: float) -> None:
        self._threads = ThreadPoolExecutor(running, thread_name_prefix="footnote-api")
        self._places = asyncio.Semaphore(running)
        self._may_wait, self._wait_s = waiting, wait_s
        self.running = self.waiting = 0

    async def start(self, work: Callable[[], _T], timeout_s: float) -> "asyncio.Future[_T]":
        """Begin the work as soon as there is a place for it.

        Raises:
            ApiError: too many wait already, or no place was free in `wait_s`, nor in `timeout_s` (503).
        """
        if self._places.locked() and self.waiting >= self._may_wait:
            raise _full()
        self.waiting += 1
        try:
            await asyncio.wait_for(self._places.acquire(), min(timeout_s, self._wait_s))
        except TimeoutError:
            raise _full() from None
        finally:
            self.waiting -= 1
        self.running += 1
        loop = asyncio.get_running_loop()
        future = self._threads.submit(work)
        future.add_done_callback(lambda ended: self._leave(loop))
        return asyncio.wrap_future(future)

    async def run(self, work: Callable[[], _T], timeout_s: float) -> _T:
        """Do the work and give its result. Raises what it raises, and what `start` does; 504 when it takes too long."""
        began = asyncio.get_running_loop().time()
        started = await self.start(work, timeout_s)
        left_s = timeout_s - (asyncio.get_running_loop().time() - began)
        try:
            return await asyncio.wait_for(asyncio.shield(started), left_s)
        except TimeoutError:
            raise too_slow(timeout_s) from None

    def close(self) -> None:
        """Let the threads end when their work has."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._free)

    def _free(self) -> None:
        self.running -= 1
        self._places.release()


def too_slow(timeout_s: float) -> ApiError:
    """What to say when time is up."""
    return ApiError(504, f"This was not done in {timeout_s:g} s (server.timeout_s).", code="timeout")


def _full() -> ApiError:
    message = "The server has too much to do; try again in a moment."
    return ApiError(503, message, code="overloaded", retry_after_s=_RETRY_AFTER_S)
