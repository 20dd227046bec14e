"""How far an ingest, a reindex is: for a person, or as JSON lines for a program. On stderr."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from app.commands.options import ProgressForm
from app.display import Meter, count, note, progress
from indexer.ledger import Progress

_JSON_EVERY_S = 1.0
FINISHING = "Finishing the index"


class Teller(Protocol):
    """Shows how far the work is, and whom it waits for."""

    def __call__(self, now: Progress) -> None: ...

    def wait(self, message: str) -> None:
        """Say who holds the lock that the work waits for."""
        ...


@contextmanager
def progress_as(form: ProgressForm) -> Iterator[Teller]:
    """Tell progress in a form: a bar on a terminal, plain lines elsewhere, or JSON lines."""
    if form is ProgressForm.json:
        lines = _JsonLines(_write_line)
        yield lines
        lines.end()
        return
    with progress() as meter:
        yield _People(meter)


class _People:
    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def __call__(self, now: Progress) -> None:
        if now.to_merge:
            self._meter(FINISHING, now.merged, now.to_merge, now.eta_s, count(now.to_merge, "chunk"))
            return
        figures = [count(now.chunks, "chunk"), f"{_tokens_per_s(now):,.0f} tokens/s"]
        if now.failed:
            figures.append(f"{now.failed:,} failed")
        self._meter(Path(now.current).name, now.files_done, now.files_total, now.eta_s, ", ".join(figures))

    def wait(self, message: str) -> None:
        note(message)


class _JsonLines:
    """A line a second at most, and one with the last figures at the end."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._told_at = -_JSON_EVERY_S
        self._now: Progress | None = None

    def __call__(self, now: Progress) -> None:
        self._now = now
        if time.monotonic() - self._told_at >= _JSON_EVERY_S:
            self._told_at = time.monotonic()
            self._tell("progress", now)

    def wait(self, message: str) -> None:
        self._write(json.dumps({"event": "waiting", "message": message}))

    def end(self) -> None:
        if self._now is not None:
            self._tell("end", self._now)

    def _tell(self, event: str, now: Progress) -> None:
        figures = asdict(now) | {"tokens_per_s": round(_tokens_per_s(now), 1)}
        rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()}
        self._write(json.dumps({"event": event} | rounded))


def _tokens_per_s(now: Progress) -> float:
    return now.tokens / now.elapsed_s if now.elapsed_s else 0.0


def _write_line(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
