"""Progress of long work on standard error: what, how much of it, and the time left.

On a terminal a live bar; elsewhere a plain line now and then, so that logs stay readable.
Standard output is never touched: it belongs to results.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

QUIET_SECONDS = 5.0  # between two plain lines when standard error is not a terminal


class Meter:
    """One piece of work under way: `advance(n)` as it goes, `say(text)` for a passing note."""

    def __init__(self, label: str, total: float | None, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = 0.0
        self._start = self._shown = time.monotonic()

    def advance(self, amount: float = 1) -> None:
        """Count `amount` more units as done."""
        self.done += amount
        now = time.monotonic()
        if now - self._shown >= QUIET_SECONDS:
            self._shown = now
            self._show(now)

    def say(self, text: str) -> None:
        """Print a note beside the progress."""
        print(f"{self.label}: {text}", file=sys.stderr, flush=True)

    def _show(self, now: float) -> None:
        spent = now - self._start
        line = f"{self.label}: {amount(self.done, self.unit)}"
        if self.total:
            left = f"{time_left(self.done, self.total, self.unit, spent):.0f} s left"
            late = self.unit == "s" and self.done >= self.total < spent
            line += f" of {amount(self.total, self.unit)}, {'longer than usual' if late else left}"
        print(f"{line} ({spent:.0f} s)", file=sys.stderr, flush=True)


class _LiveMeter(Meter):
    """The same on a terminal, drawn by rich."""

    def __init__(self, label: str, total: float | None, unit: str, bar: Progress) -> None:
        super().__init__(label, total, unit)
        self._bar = bar
        self._task = bar.add_task(label, total=total)

    def advance(self, amount: float = 1) -> None:
        self.done += amount
        self._bar.update(self._task, completed=self.done)

    def say(self, text: str) -> None:
        self._bar.console.print(f"{self.label}: {text}", markup=False, highlight=False)


@contextmanager
def meter(label: str, total: float | None = None, unit: str = "") -> Iterator[Meter]:
    """Show the progress of the block.

    Args:
        label: what is being done, for people.
        total: units in all, or None when unknown.
        unit: `"B"` for bytes (shown as MB), `"s"` for seconds that the work is expected to take, or
            the plural of what is counted.
    """
    if not sys.stderr.isatty():
        print(
            f"{label} …" if total is None else f"{label} … {amount(total, unit)}",
            file=sys.stderr,
            flush=True,
        )
        plain = Meter(label, total, unit)
        yield plain
        spent = time.monotonic() - plain._start
        print(f"{label}: done ({spent:.1f} s)", file=sys.stderr, flush=True)
        return
    with Progress(*_columns(total, unit), console=Console(stderr=True), transient=False) as bar:
        yield _LiveMeter(label, total, unit, bar)


@contextmanager
def timed(label: str, expected_s: float) -> Iterator[None]:
    """Show the progress of a block that cannot count its own work, by the clock.

    Args:
        label: what is being done, for people.
        expected_s: seconds it usually takes; when they are over the bar waits at its end.
    """
    ended = threading.Event()
    started = time.monotonic()

    def follow(progress: Meter) -> None:
        while not ended.wait(0.25):
            spent = min(time.monotonic() - started, expected_s)
            progress.advance(spent - progress.done)

    with meter(label, expected_s, "s") as progress:
        clock = threading.Thread(target=follow, args=(progress,), daemon=True)
        clock.start()
        try:
            yield
        finally:
            ended.set()
            clock.join()


def note(text: str) -> None:
    """A line for people on standard error, outside any meter."""
    print(text, file=sys.stderr, flush=True)


def amount(value: float, unit: str) -> str:
    """A count with its unit for people; bytes become MB.

    >>> amount(98_362_432, "B")
    '98.4 MB'
    >>> amount(1682, "items")
    '1,682 items'
    """
    if unit == "B":
        return f"{value / 1e6:,.1f} MB"
    return f"{value:,.0f} {unit}".rstrip()


def time_left(done: float, total: float, unit: str, spent: float) -> float:
    """Seconds until all is done: at the pace so far, or what is missing where seconds are counted.

    A part of a plan that needed none of its time says nothing about the pace of the others.

    Args:
        done: units that are done.
        total: units in all.
        unit: of both, as `meter` takes it.
        spent: seconds since the beginning.

    >>> time_left(25, 100, "items", 10), time_left(100, 900, "s", 5)
    (30.0, 800)
    """
    if unit == "s":
        return max(total - done, 0)
    return spent * (total - done) / done if done else float("nan")


class _AmountColumn(ProgressColumn):
    """`12.0 MB of 98.4 MB`, for work counted in bytes."""

    def render(self, task: Task) -> Text:
        """The text beside the bar of one task."""
        whole = f" of {amount(task.total, 'B')}" if task.total else ""
        return Text(f"{amount(task.completed, 'B')}{whole}")


class _PlannedLeftColumn(ProgressColumn):
    """`0:12:30`, for work whose plan is in seconds."""

    def render(self, task: Task) -> Text:
        """The text beside the bar of one task."""
        left = time_left(task.completed, task.total or 0.0, "s", 0.0)
        return Text(str(timedelta(seconds=round(left))), style="progress.remaining")


def _columns(total: float | None, unit: str) -> list[ProgressColumn]:
    columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}")]
    if total is None:
        return [*columns, TimeElapsedColumn()]
    size: ProgressColumn = _AmountColumn() if unit == "B" else MofNCompleteColumn()
    left: ProgressColumn = _PlannedLeftColumn() if unit == "s" else TimeRemainingColumn()
    return [*columns, BarColumn(bar_width=30), size, TimeElapsedColumn(), left]
