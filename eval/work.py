"""Working through cases in several threads: each record is kept as it ends, and no more is begun than can run."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from eval.run import Record, RunWriter

T = TypeVar("T")


def record_each(
    todo: Iterable[T],
    work: Callable[[T], Record],
    run: RunWriter,
    concurrency: int,
    tell: Callable[[int], None] | None = None,
) -> None:
    """Do the work, at most `concurrency` at a time; `tell` gets how much of it is done. An interrupt waits for no more
    than what runs."""
    waiting = iter(todo)
    done = 0
    with ThreadPoolExecutor(concurrency, thread_name_prefix="case") as workers:
        running: set[Future[Record]] = set()
        try:
            while True:
                for one in waiting:  # only as many as can run: an interrupt loses no more than those
                    running.add(workers.submit(work, one))
                    if len(running) >= concurrency:
                        break
                if not running:
                    return
                ready, running = wait(running, return_when=FIRST_COMPLETED)
                run.add(*(future.result() for future in ready))
                done += len(ready)
                if tell:
                    tell(done)
        except BaseException:
            for future in running:
                future.cancel()
            raise
