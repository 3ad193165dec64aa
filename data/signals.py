"""What an event tells beside its item: what was done, how it was liked, how long after the one before.

Two small codes an event, 0 where nothing is known. They are made from the event and those before it alone, so a
history has the same codes whatever comes later.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foretaste.data.tables import EVENTS

Codes = NDArray[np.int8]
_LEVELS = 4  # no value, below, near and above the person's mean so far
_NEAR = 0.1  # share of that mean up to which a value is near it
_OCTAVES = 2  # doublings of the gap that share a code
_LONGEST = 31  # doublings of a second that are told apart: 68 years
ACTIONS = 1 + len(EVENTS) * _LEVELS  # codes of the first column
GAPS = 2 + _LONGEST // _OCTAVES  # codes of the second


def signals(
    events: Sequence[str],
    values: NDArray[np.float64],
    times: NDArray[np.int64] | None,
    owners: NDArray[np.int64],
) -> Codes:
    """(n, 2) code of action and liking, and of the time since the person's event before.

    Args:
        events: (n,) kinds of action, each person's in a row, oldest first; one that is not of
            `EVENTS` tells nothing.
        values: (n,) such as ratings; NaN where there is none.
        times: (n,) seconds, or None where only the order is known.
        owners: (n,) whose events they are.

    >>> signals(["view", "rating"], np.array([np.nan, 4]), np.array([7, 10]), np.zeros(2, int)).tolist()
    [[1, 0], [19, 2]]
    """
    kinds = {kind: number for number, kind in enumerate(EVENTS)}
    done = np.array([kinds.get(event, -1) for event in events], dtype=np.int64)  # (n,)
    codes = np.zeros((len(done), 2), dtype=np.int8)
    codes[:, 0] = np.where(done >= 0, 1 + done * _LEVELS + _liking(values, owners), 0)
    if times is not None and len(done):
        same = owners[1:] == owners[:-1]
        gaps = np.log2(1 + np.maximum(np.diff(times), 0).astype(np.float64))
        buckets = 1 + np.minimum(gaps, _LONGEST).astype(np.int64) // _OCTAVES
        codes[1:, 1] = np.where(same, buckets, 0)
    return codes


def telling(codes: Codes) -> Codes | None:
    """The codes without a column that is the same for every event; None when nothing is left."""
    kept = codes.copy()
    for column in kept.T:
        if len(column) and (column == column[0]).all():
            column[:] = 0
    return kept if kept.any() else None


def _liking(values: NDArray[np.float64], owners: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) 0 without a value, else 1, 2, 3: below, near, above the person's mean up to this event."""
    known = ~np.isnan(values)
    first = np.searchsorted(owners, owners)  # (n,) place of the person's first event

    def so_far(of: NDArray[np.float64]) -> NDArray[np.float64]:
        before = np.concatenate([[0.0], np.cumsum(of)])
        return np.asarray(before[1:] - before[first])

    filled = np.where(known, values, 0.0)
    mean = so_far(filled) / np.maximum(so_far(known.astype(np.float64)), 1)
    away = filled - mean
    level = 2 + np.sign(away) * (np.abs(away) > _NEAR * np.abs(mean))
    return np.where(known, level, 0).astype(np.int64)
