"""A question on its way: the pipeline runs in a thread of the gate, its events come out in the event loop."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import closing
from typing import cast

from starlette.requests import Request

from app.api.errors import ApiError
from app.api.gate import Gate, too_slow
from generator.pipeline import Event

CLIENT_GONE = 499  # as nginx writes it into its log: nobody reads this answer


class Answering:
    """The events of one pipeline. `stop` closes it at its next event, which ends the model's request."""

    def __init__(self, request: Request, timeout_s: float) -> None:
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._came: asyncio.Queue[Event | Exception | None] = asyncio.Queue()
        self._stopped = threading.Event()
        self._timeout_s = timeout_s
        self._until = self._loop.time() + timeout_s
        self.watching = asyncio.create_task(self._stop_when_gone())  # from now on: it may leave while it waits in line

    def stop(self) -> None:
        """Nobody wants the answer any more."""
        self._stopped.set()
        self._came.put_nowait(_gone())

    def leave(self) -> None:
        """Stop the pipeline, and watch the client no longer."""
        self._stopped.set()
        self.watching.cancel()

    async def events(self) -> AsyncGenerator[Event, None]:
        """What the pipeline yields, while the client listens. Closing this stops the pipeline.

        Raises:
            ApiError: time is up (504), or the client has gone (499).
            FootnoteError: what the pipeline raises.
        """
        try:
            while True:
                async with asyncio.timeout_at(self._until):
                    event = await self._came.get()
                if event is None:
                    return
                if isinstance(event, Exception):
                    raise event
                yield event
        except TimeoutError:
            raise too_slow(self._timeout_s) from None
        finally:
            self.leave()

    def work(self, ask: Callable[[], Iterator[Event]]) -> None:
        """Run the pipeline; for a thread."""
        try:
            # A pipeline is a generator: closing it is what ends the request to the model.
            with closing(cast("Generator[Event, None, None]", ask())) as events:
                for event in events:
                    if self._stopped.is_set():
                        return
                    self._tell(event)
            self._tell(None)
        except Exception as error:
            self._tell(error)

    async def _stop_when_gone(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self.stop()

    def _tell(self, item: Event | Exception | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._came.put_nowait, item)


async def start_answer(request: Request, gate: Gate, ask: Callable[[], Iterator[Event]], timeout_s: float) -> Answering:
    """Begin to answer as soon as there is a place. A client that goes before leaves the line at once.

    Raises:
        ApiError: what `Gate.start` raises, or the client has gone (499).
    """
    answering = Answering(request, timeout_s)
    starting = asyncio.ensure_future(gate.start(lambda: answering.work(ask), timeout_s))
    try:
        await asyncio.wait((starting, answering.watching), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            raise _gone()
        await starting
    except BaseException:
        starting.cancel()
        answering.leave()
        raise
    return answering


def _gone() -> ApiError:
    return ApiError(CLIENT_GONE, "The client has gone.")
