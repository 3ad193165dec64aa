"""The exact index: every vector compared with every query, by FAISS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from foretaste.serving.index.base import (
    Catalogued,
    Hits,
    IndexInfo,
    as_vectors,
    check_pairs,
)
from foretaste.serving.index.saved import write_faiss, write_saved

_SMALL_BATCH = 16  # queries; FAISS compares fewer than 20 one after the other anyway


class ExactIndex(Catalogued):
    """All vectors in memory (4 d bytes an item), nothing approximated.

    Args:
        info: what it is made of.
        item_ids: n ids in row order.
        index: the FAISS index that holds the n vectors.
    """

    def __init__(self, info: IndexInfo, item_ids: Sequence[str], index: faiss.IndexFlatIP) -> None:
        super().__init__(info, item_ids)
        self._index = index

    @classmethod
    def build(
        cls, info: IndexInfo, item_ids: Sequence[str], vectors: NDArray[np.float32]
    ) -> ExactIndex:
        """From the (n, d) vectors of n items, in row order."""
        check_pairs(info, item_ids, vectors)
        index = faiss.IndexFlatIP(info.dimension)
        index.add(as_vectors(vectors, info.dimension))
        return cls(info, item_ids, index)

    def vectors_of(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """(n, d) float32, the vectors of these items."""
        wanted = np.asarray(rows, dtype=np.int64)
        out: NDArray[np.float32] = self._index.reconstruct_batch(wanted)
        return out

    def search(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> Hits:
        """The k items with the largest inner product, of those that are allowed (see `base`)."""
        checked = self._checked(queries, k, allowed)
        return compare_all(self._index, checked, k, allowed)

    def save(self, folder: Path) -> None:
        """Keep it in `folder`, replacing what an earlier save left there in one step."""
        write_saved(folder, self._info, self._item_ids, write_faiss(self._index))


def compare_all(
    vectors: Any, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
) -> Hits:
    """The k best of all allowed vectors of a flat FAISS index, each compared with each query."""
    with few_threads(len(queries)):
        if allowed is None:
            return as_hits(*vectors.search(queries, k))
        chosen = faiss.SearchParameters()
        bits, chosen.sel = selecting(allowed)
        answer = vectors.search(queries, k, params=chosen)
        del bits  # FAISS reads them during the search
    return as_hits(*answer)


@contextmanager
def few_threads(queries: int) -> Iterator[None]:
    """Give a small batch one thread of FAISS's, and a large one what the process has.

    Threads that wait for each other burn the cores that a language model beside them needs: one
    query over 10,000 items took 0.5 ms on one thread and 40 ms on two while the machine was busy.
    """
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1 if queries <= _SMALL_BATCH else before)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def selecting(allowed: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], faiss.IDSelectorBitmap]:
    """A filter as FAISS takes it: item n is bit n % 8 of byte n // 8.

    Args:
        allowed: (items,) which items may be found.

    Returns:
        The bits, (items / 8 rounded up,) uint8, and the selector, which reads them where they are:
        keep both until the search is over.
    """
    bits = np.packbits(allowed, bitorder="little")
    return bits, faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))


def as_hits(scores: NDArray[np.float32], rows: NDArray[np.int64]) -> Hits:
    """FAISS's answer as `Hits`: rows (q, k), scores (q, k)."""
    narrow = rows.astype(np.int32)
    scores[narrow < 0] = -np.inf
    return Hits(narrow, scores)
