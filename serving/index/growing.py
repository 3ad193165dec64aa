"""Rows of numbers that grow one by one without all of them being copied each time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ROOM_SHARE, _ROOM_LEAST = 8, 1_024  # room for an eighth more rows, and for some thousand at least


class GrowingRows:
    """(n, d) float32 rows with room behind them. One thread puts, many read.

    A row that is put again changes in the arrays handed out before, too: a reader sees its old
    numbers or its new ones. Rows never move, and arrays handed out before stay valid.

    >>> rows = GrowingRows(np.zeros((1, 2), dtype=np.float32))
    >>> before = rows.all
    >>> rows.put([1], np.ones((1, 2), dtype=np.float32)).tolist()
    [[0.0, 0.0], [1.0, 1.0]]
    >>> before.tolist()
    [[0.0, 0.0]]
    """

    def __init__(self, rows: NDArray[np.float32]) -> None:
        self._count = len(rows)
        self._room = _with_room(rows, len(rows))  # (capacity, d)

    @property
    def all(self) -> NDArray[np.float32]:
        """(n, d) the rows so far."""
        return self._room[: self._count]

    def put(self, places: Sequence[int], rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Put (m, d) rows at these m places, known or the next ones; all rows are given back."""
        count = max(self._count, max(places, default=-1) + 1)
        if count > len(self._room):
            self._room = _with_room(self.all, count)
        self._room[list(places)] = rows
        self._count = count
        return self.all


def _with_room(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """(more than count, d) these rows, then unset ones; room that is not used takes no memory."""
    capacity = count + max(_ROOM_LEAST, count // _ROOM_SHARE)
    out = np.empty((capacity, rows.shape[1]), dtype=np.float32)
    out[: len(rows)] = rows
    return out
