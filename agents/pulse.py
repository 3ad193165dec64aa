"""What is new and what rises: when each item was first seen, and how often in two windows of days.

Time is the data's own: "now" is the newest event, so that an old data set has a pulse too. Data sets
whose times are only an order have none.
"""

from __future__ import annotations

import threading
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
        self._daily = np.zeros((2 * self._days, items), dtype=np.int32)  # by day, as a ring
        day = times // _DAY
        held = day > self._today - 2 * self._days
        np.add.at(self._daily, (day[held] % (2 * self._days), rows[held]), 1)

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
                if time // _DAY > self._today - len(self._daily):
                    self._daily[time // _DAY % len(self._daily), row] += 1

    def arrived(self, rows: Sequence[int], time: int) -> None:
        """Items came into the catalogue at this time; those seen before stay as old as they are."""
        with self._guard:
            for row in rows:
                self._grow(row + 1)
                if self._first[row] == _NEVER:
                    self._first[row] = time

    def fresh(self) -> NDArray[np.int64]:
        """Rows of the items first seen within the last window, newest first."""
        with self._guard:
            rows = np.flatnonzero(self._first > (self._today - self._days + 1) * _DAY - 1)
            return rows[np.argsort(-self._first[rows], kind="stable")]

    def rises(self) -> NDArray[np.float32]:
        """(items,) float32, how surely each item rises: (a - b) / sqrt(a + b + 1).

        a and b are the events of the last window and of the one before: the difference of two
        Poisson counts by its standard deviation, with one event added against chance.
        """
        with self._guard:
            order = (self._today - np.arange(len(self._daily))) % len(self._daily)
            last = self._daily[order[: self._days]].sum(axis=0)
            before = self._daily[order[self._days :]].sum(axis=0)
        return ((last - before) / np.sqrt(last + before + 1)).astype(np.float32)

    def _grow(self, items: int) -> None:
        more = items - len(self._first)
        if more > 0:
            self._first = np.concatenate([self._first, np.full(more, _NEVER)])
            self._daily = np.pad(self._daily, ((0, 0), (0, more)))

    def _until(self, day: int) -> None:
        """Begin the days up to this one; each clears the ring's place of its own."""
        passed = min(day - self._today, len(self._daily))
        if passed > 0:
            self._daily[(day - np.arange(passed)) % len(self._daily)] = 0
            self._today = day
