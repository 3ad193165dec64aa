"""Item-to-item statistics as sparse (items, items) float32 matrices without negative entries.

Counts (`co_counts`, `transition_counts`) are sums over events, so those of new interactions can be
added to old ones; what is normalised is made from them afterwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from foretaste.data.histories import Histories

LONGEST = 1000  # newest events of a history that are counted: pairs grow with its square
_ROWS = 1 << 16  # rows sorted at once: a row number then fits 16 bits
_PRODUCT_ROWS = 512  # rows of a product held at once


def co_counts(histories: Histories, items: int) -> Any:
    """C[a, b] = histories that hold both a and b; the diagonal is left out.

    >>> co_counts(Histories.from_lists([[0, 1, 1], [1, 0], [2]]), 3).toarray().tolist()
    [[0.0, 2.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    held = _held(histories, items)
    return _without_diagonal(held.T @ held)


def cosine(counts: Any, holders: NDArray[np.int64], power: float) -> Any:
    """C[a, b] / (n_a n_b)^power, n being the histories that hold an item; 0.5 is the cosine.

    Sarwar, Karypis, Konstan and Riedl 2001, section 3.1.
    """
    scale = sp.diags(np.maximum(holders, 1).astype(np.float32) ** np.float32(-power))
    return (scale @ counts @ scale).tocsr().astype(np.float32)


def holders(histories: Histories, items: int) -> NDArray[np.int64]:
    """(items,) histories that hold each item."""
    return np.asarray(_held(histories, items).sum(axis=0)).ravel().astype(np.int64)


def transition_counts(histories: Histories, items: int, window: int, back: float) -> Any:
    """T[a, b] = sum of 1/gap wherever b follows a by at most `window` places, plus back/gap for
    T[b, a]; the diagonal is left out.

    >>> transition_counts(Histories.from_lists([[0, 1, 2]]), 3, 2, 0.5).toarray().tolist()
    [[0.0, 1.0, 0.5], [0.5, 0.0, 1.0], [0.25, 0.5, 0.0]]
    """
    owners, rows = histories.owners, histories.rows
    total = sp.csr_matrix((items, items), dtype=np.float32)
    for gap in range(1, min(window, len(rows) - 1) + 1):
        same = owners[:-gap] == owners[gap:]  # (events - gap,)
        earlier, later = rows[:-gap][same], rows[gap:][same]
        weight = np.full(len(earlier), 1 / gap, dtype=np.float32)
        total = total + sp.csr_matrix((weight, (earlier, later)), shape=(items, items))
    return _without_diagonal(total + np.float32(back) * total.T if back else total)


def by_row(matrix: Any) -> Any:
    """Each row divided by its sum; empty rows stay empty."""
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    return (sp.diags((1 / np.where(sums > 0, sums, 1)).astype(np.float32)) @ matrix).tocsr()


def with_second_hop(matrix: Any, gamma: float, neighbours: int) -> Any:
    """matrix + gamma × (matrix × matrix), the product made of each row's strongest neighbours."""
    if not gamma:
        return matrix
    strong = strongest(matrix, neighbours)
    return (matrix + np.float32(gamma) * strongest_product(strong, strong, neighbours**2)).tocsr()


def divided_by_popularity(matrix: Any, counts: NDArray[np.int64], power: float) -> Any:
    """Columns divided by (item count)^power: 0 leaves popular items their advantage."""
    if not power:
        return matrix
    scale = np.maximum(counts, 1).astype(np.float32) ** np.float32(-power)
    return (matrix @ sp.diags(scale)).tocsr()


def strongest(matrix: Any, keep: int, seed: int = 0) -> Any:
    """The `keep` largest entries of each row.

    Among equal entries those that come first in a seeded random order of the columns are kept, so
    the order of the catalogue never decides. Works on 65,536 rows at a time: one sort of 64-bit
    keys (row, value turned round, place in the random order).
    """
    matrix = matrix.tocsr()
    order = np.random.default_rng(seed).permutation(matrix.shape[1]).astype(np.uint64)
    parts = [
        _strongest_rows(matrix[start : start + _ROWS], keep, order)
        for start in range(0, matrix.shape[0], _ROWS)
    ]
    return sp.vstack(parts, format="csr") if len(parts) != 1 else parts[0]


def strongest_product(left: Any, right: Any, keep: int) -> Any:
    """The `keep` largest entries of each row of left @ right, off the diagonal.

    The product is made 512 rows at a time, so what is dropped is never held all at once.
    """
    right = right.tocsr()
    parts = []
    for start in range(0, left.shape[0], _PRODUCT_ROWS):
        part = left[start : start + _PRODUCT_ROWS] @ right
        lengths = np.diff(part.indptr)
        own = np.repeat(np.arange(start, start + len(lengths)), lengths)  # (entries,)
        part.data[part.indices == own] = 0
        parts.append(strongest(part, keep))
    if not parts:
        return sp.csr_matrix((0, right.shape[1]), dtype=np.float32)
    whole = sp.vstack(parts, format="csr", dtype=np.float32)
    whole.eliminate_zeros()
    return whole


def _strongest_rows(part: Any, keep: int, order: NDArray[np.uint64]) -> Any:
    lengths = np.diff(part.indptr)  # (rows,)
    if not len(lengths) or lengths.max() <= keep:
        return part
    rows = np.repeat(np.arange(len(lengths), dtype=np.uint64), lengths)  # (entries,)
    bits = part.data.astype(np.float32).view(np.uint32)  # ordered like the values: none is negative
    turned = np.uint64(0xFFFFFFFF) - bits.astype(np.uint64)
    keys = rows << np.uint64(48) | turned << np.uint64(16)
    keys |= order[part.indices] * np.uint64(0xFFFF) // np.uint64(max(len(order), 1))
    sorted_ = np.argsort(keys)
    place = np.arange(len(keys)) - np.repeat(part.indptr[:-1], lengths)  # rows keep their stretch
    kept = np.sort(sorted_[place < keep])
    offsets = np.concatenate([[0], np.cumsum(np.minimum(lengths, keep))])
    return sp.csr_matrix((part.data[kept], part.indices[kept], offsets), shape=part.shape)


def _held(histories: Histories, items: int) -> Any:
    """(n, items) float32, 1 where a history holds an item."""
    cut = histories.newest(LONGEST)
    ones = np.ones(len(cut.rows), dtype=np.float32)
    held = sp.csr_matrix((ones, cut.rows, cut.offsets), shape=(len(cut), items))
    held.sum_duplicates()
    held.data[:] = 1
    return held


def _without_diagonal(matrix: Any) -> Any:
    entries = matrix.tocoo()
    off = entries.row != entries.col
    places = (entries.row[off], entries.col[off])
    return sp.csr_matrix((entries.data[off], places), shape=matrix.shape, dtype=np.float32)
