"""What people see on the terminal: text on stdout, progress and notes on stderr."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from app.door import plain

_LINE_EVERY_S = 5.0
_WIDE = 1_000_000  # what is read by a program is not folded


def show(text: str = "", style: str = "", *, wrap: bool = True, indent: int = 0) -> None:
    """Print a line or paragraph; it is folded to the terminal's width, unless there is no terminal."""
    line = Text(plain(text), style)
    _console().print(Padding(line, (0, 0, 0, indent), expand=False) if indent else line, soft_wrap=not wrap)


def note(text: str) -> None:
    """Print a line on stderr."""
    sys.stderr.write(plain(text) + "\n")


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under headings; numbers stand to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(f"{cell:,}" if isinstance(cell, int) else str(cell))) for cell in row))
    _console().print(table)


def _console() -> Console:
    width = None if sys.stdout.isatty() else _WIDE
    return Console(highlight=False, markup=False, emoji=False, width=width)


def shorten(text: str, limit: int) -> str:
    """One line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def count(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class Meter(Protocol):
    """Something that shows how far the work is; without `left_s` the time left is taken from the pace so far."""

    def __call__(self, doing: str, done: int, total: int, left_s: float | None = None, figures: str = "") -> None: ...


@contextmanager
def progress() -> Iterator[Meter]:
    """Show progress on stderr: a bar with the time left on a terminal, otherwise a line every few seconds."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Bar(bar)


class _Pace:
    """Time left, from the pace since the first call."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def left(self, done: int, total: int, left_s: float | None) -> str:
        if left_s is None and 0 < done < total:
            left_s = (time.monotonic() - self._began) / done * (total - done)
        return f"{timedelta(seconds=round(left_s))} left" if left_s else ""


class _Bar:
    def __init__(self, bar: Progress) -> None:
        self._bar, self._pace = bar, _Pace()
        self._task = bar.add_task("", total=None, left="")

    def __call__(self, doing: str, done: int, total: int, left_s: float | None = None, figures: str = "") -> None:
        left = ", ".join(filter(None, (figures, self._pace.left(done, total, left_s))))
        self._bar.update(
            self._task, description=escape(plain(shorten(doing, 40))), completed=done, total=total or None, left=left
        )


class _Lines:
    def __init__(self) -> None:
        self._told, self._pace = time.monotonic(), _Pace()

    def __call__(self, doing: str, done: int, total: int, left_s: float | None = None, figures: str = "") -> None:
        if time.monotonic() - self._told < _LINE_EVERY_S:
            return
        self._told = time.monotonic()
        left = self._pace.left(done, total, left_s)
        note(f"{shorten(doing, 60)}: " + ", ".join(filter(None, (f"{done} of {total}", figures, left))))
