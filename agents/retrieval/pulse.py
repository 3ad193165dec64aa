"""What is new and what rises: when each item was first seen, and how often in two windows of days.

Time is the data's own: "now" is the newest event, so that an old data set has a pulse too. Data sets
whose times are only an order have none.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foretaste.data.dataset import Dataset

_DAY = 86_400  # seconds
_NEVER = np.iinfo(np.int64).min


class Pulse:
    """First sights and daily counts of all items. Many threads may read and write.

    A new event costs one addition; a new day moves the windows.

    Args:
        rows: (events,) item rows.
        times: (events,) seconds of each event.
        items: number of items.
        days: length of a window.
    """

    def __init__(
        self, rows: NDArray[np.int32], times: NDArray[np.int64], items: int, days: float
    ) -> None:
        self._guard = threading.Lock()
        self._days = max(1, round(days))
        self._first = np.full(items, np.iinfo(np.int64).max)
        np.minimum.at(self._first, rows, times)
        self._first[self._first == np.iinfo(np.int64).max] = _NEVER
        self._today = int(times.max(initial=0)) // _DAY
        self._last = np.zeros(items, dtype=np.int32)  # events of the last window
        self._before = np.zeros(items, dtype=np.int32)  # and of the one before
        self._by_day: dict[int, Counter[int]] = {}
        held = np.flatnonzero(times // _DAY > self._today - 2 * self._days)
        for row, day in zip(rows[held].tolist(), (times[held] // _DAY).tolist(), strict=True):
            self._count(row, day)

    @classmethod
    def of(cls, dataset: Dataset, days: float) -> Pulse | None:
        """The pulse of an imported data set; None when it has no times or no events."""
        if dataset.info.order_only or not len(dataset.times):
            return None
        rows = dataset.histories.rows
        return cls(rows, dataset.times, len(dataset.item_ids), days)

    def add(self, rows: Sequence[int], times: Sequence[int]) -> None:
        """Take in events, the newest of which is now; what is older than both windows is passed."""
        with self._guard:
            for row, time in zip(rows, times, strict=True):
                self._grow(row + 1)
                self._until(time // _DAY)
                if self._first[row] == _NEVER or time < self._first[row]:
                    self._first[row] = time
                if time // _DAY > self._today - 2 * self._days:
                    self._count(row, time // _DAY)

    def arrived(self, rows: Sequence[int], time: int) -> None:
        """Items came into the catalogue at this time; those seen before stay as old as they are."""
        with self._guard:
            for row in rows:
                self._grow(row + 1)
                if self._first[row] == _NEVER:
                    self._first[row] = time

    def fresh(self) -> NDArray[np.int64]:
        """(n,) rows of the items first seen within the last window, newest first."""
        with self._guard:
            rows = np.flatnonzero(self._first > (self._today - self._days + 1) * _DAY - 1)
            return rows[np.argsort(-self._first[rows], kind="stable")]

    def rises(self) -> NDArray[np.float32]:
        """(items,) float32, how surely each item rises: (a - b) / sqrt(a + b + 1).

        a and b are the events of the last window and of the one before: the difference of two
        Poisson counts by its standard deviation, with one event added against chance.
        """
        with self._guard:
            last, before = self._last, self._before
            return np.asarray((last - before) / np.sqrt(last + before + 1), dtype=np.float32)

    def _count(self, row: int, day: int) -> None:
        """One event of a day within the windows."""
        self._by_day.setdefault(day, Counter())[row] += 1
        (self._last if day > self._today - self._days else self._before)[row] += 1

    def _grow(self, items: int) -> None:
        more = items - len(self._first)
        if more > 0:
            self._first = np.concatenate([self._first, np.full(more, _NEVER)])
            self._last = np.pad(self._last, (0, more))
            self._before = np.pad(self._before, (0, more))

    def _until(self, day: int) -> None:
        """Move the windows on to this day."""
        if day <= self._today:
            return
        for old in sorted(self._by_day):
            counts = self._by_day[old]
            rows, events = list(counts), np.fromiter(counts.values(), dtype=np.int32)
            if old > self._today - self._days and old <= day - self._days:
                self._last[rows] -= events
                if old > day - 2 * self._days:
                    self._before[rows] += events
            elif old <= self._today - self._days and old <= day - 2 * self._days:
                self._before[rows] -= events
            if old <= day - 2 * self._days:
                del self._by_day[old]
        self._today = day
