"""What people see on the terminal: text on stdout, progress and notes on stderr."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from app.door import plain

_LINE_EVERY_S = 5.0


def show(text: str = "", style: str = "", *, wrap: bool = True) -> None:
    """Print a line or paragraph."""
    Console(highlight=False, markup=False, emoji=False, soft_wrap=not wrap).print(Text(plain(text), style))


def note(text: str) -> None:
    """Print a line on stderr."""
    sys.stderr.write(plain(text) + "\n")


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under headings; numbers stand to the right, and the first column is never cut."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(f"{cell:,}" if isinstance(cell, int) else str(cell))) for cell in row))
    Console(highlight=False).print(table)


def shorten(text: str, limit: int) -> str:
    """One line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def count(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class Meter(Protocol):
    """Something that shows how far the work is."""

    def __call__(self, doing: str, done: int, total: int) -> None: ...


@contextmanager
def progress() -> Iterator[Meter]:
    """Show progress on stderr: a bar with the time left on a terminal, otherwise a line every few seconds."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Bar(bar)


class _Bar:
    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None)

    def __call__(self, doing: str, done: int, total: int) -> None:
        text = plain(shorten(doing, 40)).replace("[", r"\[")
        self._bar.update(self._task, description=text, completed=done, total=total or None)


class _Lines:
    def __init__(self) -> None:
        self._began = self._told = time.monotonic()

    def __call__(self, doing: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told < _LINE_EVERY_S:
            return
        self._told = now
        left = f", {(now - self._began) / done * (total - done):.0f} s left" if 0 < done < total else ""
        note(f"{shorten(doing, 60)}: {done} of {total}{left}")
