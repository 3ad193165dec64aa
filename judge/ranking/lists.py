"""What the first k items of rankings are like: how many, how well known, how alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foretaste.serving.rules.base import Scores

Lists = NDArray[np.int32]
_GROUPS = 128  # of items, at least: the k-th best maximum of a group is a bound
_CASES = 1024  # lists whose vectors are held at once


def top_lists(scores: Scores, k: int, seed: int | list[int]) -> Lists:
    """The first k items of each ranking, best first; (n, k) int32, padded with -1.

    Items that tie for the last places are drawn at random, so the order of the catalogue never
    decides. Items that are not offered (-inf) leave their places empty. Sorting whole rows is slow
    where most scores are equal; here only what exceeds a bound is sorted. k is at most 128.

    >>> top_lists(np.array([[1.0, 3.0, 2.0], [-np.inf, 0.0, -np.inf]], dtype=np.float32), 2, 0)
    array([[ 1,  2],
           [ 1, -1]], dtype=int32)
    """
    items = scores.shape[1]
    groups = np.arange(0, items, max(1, items // _GROUPS))
    best = np.maximum.reduceat(scores, groups, axis=1)  # (n, groups)
    count = min(k, items)
    low = np.partition(best, -count, axis=1)[:, -count]  # (n,) at least `count` items reach it
    draw = np.random.default_rng(seed)
    lists = np.full((len(scores), k), -1, dtype=np.int32)
    for found, row, bound in zip(lists, scores, low, strict=True):
        rows = np.flatnonzero(row > bound)
        if len(rows) < count and bound > -np.inf:
            equal = np.flatnonzero(row == bound)
            rows = np.concatenate([rows, draw.choice(equal, count - len(rows), replace=False)])
        rows = draw.permutation(rows)  # equal scores in random order, whatever the sort does
        rows = rows[np.argsort(-row[rows], kind="stable")[:count]]
        found[: len(rows)] = rows
    return lists


def coverage(lists: Lists, items: int) -> float:
    """Share of the catalogue that is in at least one list.

    >>> coverage(np.array([[0, 1], [1, -1]], dtype=np.int32), 4)
    0.5
    """
    return len(np.unique(lists[lists >= 0])) / items


def information(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(items,) bits of surprise of each item: -log2((count + 1) / (events + items)).

    Zhou et al. 2010 (self-information), one event added to each item so that new ones are finite.
    """
    shares: NDArray[np.float64] = (counts + 1) / (counts.sum() + len(counts))
    return -np.log2(shares)


def novelty(lists: Lists, bits: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) mean bits of surprise of each list's items; NaN for an empty list."""
    offered = lists >= 0
    total = np.where(offered, bits[lists], 0).sum(axis=1)
    return _mean(total, offered.sum(axis=1))


def diversity(lists: Lists, vectors: Scores) -> NDArray[np.float64]:
    """(n,) mean cosine distance of all pairs in each list; NaN below two items.

    The mean over pairs follows from the length of the sum: `|Σ v|² = m + Σ_{i≠j} v_i · v_j`.

    Args:
        vectors: (items, d) float32 of length 1.
    """
    found = np.empty(len(lists))
    for start in range(0, len(lists), _CASES):
        part = lists[start : start + _CASES]
        offered = part >= 0
        summed = (vectors[part] * offered[:, :, None]).sum(axis=1)  # (cases, d)
        size = offered.sum(axis=1)
        alike = np.einsum("nd,nd->n", summed, summed) - size
        found[start : start + _CASES] = 1 - _mean(alike, size * (size - 1))
    return found


def _mean(total: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.float64]:
    """total / count, NaN where there is nothing to average."""
    mean = np.full(len(total), np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean
