"""Ctrl-C between two steps: in the middle of one, the parameters would be half of this step and half of the last."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Stop:
    """Whether the run was asked to stop."""

    asked: bool = False


@contextmanager
def stop_after_the_step() -> Iterator[Stop]:
    """Turn the first Ctrl-C into a request; a second one stops at once, and what came after the checkpoint is lost."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals are the main thread's
        return

    def ask(number: int, frame: object) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True
        logger.warning("stopping after this step; Ctrl-C again stops at once")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
