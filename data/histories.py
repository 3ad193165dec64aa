"""Histories as integers: what the rules, the metrics and the trainers read.

An item is its *row*: its place in the catalogue table of its data set. A row number is a name,
never a quantity; no model may read it as a number (see docs/protocol.md on catalogue order).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foretaste.data.errors import DataError


@dataclass(frozen=True)
class Histories:
    """The item rows of n histories, oldest first, in one flat array.

    Attributes:
        rows: (events,) int32, item rows of all histories one after the other.
        offsets: (n + 1,) int64; history i is `rows[offsets[i]:offsets[i + 1]]`.
        signals: (events, 2) int8 codes of `data/signals.py`, None where nothing is known.

    >>> both = Histories.from_lists([[3, 1], [2]])
    >>> len(both), both[0].tolist(), both.lengths.tolist()
    (2, [3, 1], [2, 1])
    """

    rows: NDArray[np.int32]
    offsets: NDArray[np.int64]
    signals: NDArray[np.int8] | None = None

    def __post_init__(self) -> None:
        if len(self.offsets) == 0 or self.offsets[0] != 0 or self.offsets[-1] != len(self.rows):
            raise DataError("Histories need offsets from 0 to the number of rows.")

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int]]) -> Histories:
        """From one list of item rows a history, oldest first."""
        offsets = np.zeros(len(lists) + 1, dtype=np.int64)
        np.cumsum([len(one) for one in lists], out=offsets[1:])
        flat = [row for one in lists for row in one]
        return cls(np.asarray(flat, dtype=np.int32), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        return self.rows[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[NDArray[np.int32]]:
        return (self[index] for index in range(len(self)))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(n,) events of each history."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> NDArray[np.int64]:
        """(events,) which history each event belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def ages(self) -> NDArray[np.int64]:
        """(events,) how many events of the same history are newer: 0 for the newest."""
        return self.offsets[1:][self.owners] - 1 - np.arange(len(self.rows))

    def slice(self, start: int, stop: int) -> Histories:
        """Histories `start` to `stop - 1`, without a copy of the rows."""
        offsets = self.offsets[start : stop + 1]
        part = np.s_[offsets[0] : offsets[-1]]
        told = None if self.signals is None else self.signals[part]
        return Histories(self.rows[part], offsets - offsets[0], told)

    def newest(self, count: int) -> Histories:
        """The same histories, each cut to its newest `count` events."""
        keep = self.ages < count
        offsets = np.zeros(len(self) + 1, dtype=np.int64)
        np.cumsum(np.minimum(self.lengths, count), out=offsets[1:])
        told = None if self.signals is None else self.signals[keep]
        return Histories(self.rows[keep], offsets, told)
