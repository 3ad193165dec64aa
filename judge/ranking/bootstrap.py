"""Intervals by paired resampling of users."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_CELLS = 20_000_000  # user weights held at once: 160 MB


def resampled_means(values: Floats, users: NDArray[np.int64], resamples: int, seed: int) -> Floats:
    """Means of every column over users drawn with replacement, all columns by the same draw.

    A user's cases stay together, because they are not independent.

    Args:
        values: (cases, columns); NaN where a case is not part of a column.
        users: (cases,) whose case it is.
        resamples: how many draws.
        seed: of the draws.

    Returns:
        (resamples, columns), NaN where a draw holds no case of a column.
    """
    _, owners = np.unique(users, return_inverse=True)
    count = int(owners.max(initial=-1)) + 1
    held = ~np.isnan(values)
    both = np.concatenate([np.where(held, values, 0), held], axis=1)  # (cases, 2 × columns)
    order = np.argsort(owners, kind="stable")
    starts = np.searchsorted(owners[order], np.arange(count))
    sums = np.add.reduceat(both[order], starts, axis=0) if count else both  # (users, 2 × columns)
    draw = np.random.default_rng(seed)
    means = np.empty((resamples, values.shape[1]))
    size = max(1, _CELLS // max(count, 1))
    for start in range(0, resamples, size):
        stop = min(start + size, resamples)
        total = _weights(draw, stop - start, count) @ sums
        with np.errstate(invalid="ignore", divide="ignore"):
            means[start:stop] = total[:, : values.shape[1]] / total[:, values.shape[1] :]
    return means


def interval(means: Floats) -> tuple[float, float] | None:
    """The middle 95 % of resampled means; None when no draw held a case."""
    if np.isnan(means).all():
        return None
    low, high = np.nanquantile(means, [0.025, 0.975])
    return float(low), float(high)


def _weights(draw: np.random.Generator, resamples: int, count: int) -> Floats:
    """(resamples, users) how often each user is drawn."""
    weights = np.empty((resamples, count))
    for row in weights:
        row[:] = np.bincount(draw.integers(count, size=count), minlength=count)
    return weights
