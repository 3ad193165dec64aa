"""The index of large catalogues: items grouped around centres, only the nearest groups compared.

FAISS's inverted lists over spherical k-means centres, vectors kept in 16-bit floats (2 d bytes an
item, half of the exact index). How many groups a search looks into is not guessed but measured with
questions that are no items when the index is built (`calibration`), so that 99 % of the true 100
nearest are found. Why not HNSW: docs/log.md, "The item index".

Filters decide which groups are looked into: groups without an allowed item are passed over, and the
search goes on until it has seen as many allowed items as an unfiltered search sees items. Up to
`_NARROW` allowed items are all compared, and k are found whenever k are allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from foretaste.data.progress import meter
from foretaste.serving.index.base import (
    Hits,
    IndexInfo,
    as_vectors,
    check_k,
    check_mask,
    check_pairs,
)
from foretaste.serving.index.calibration import DEPTH, Truth, choose_probes
from foretaste.serving.index.exact import as_hits, few_threads, selecting
from foretaste.serving.index.saved import write_faiss, write_saved

_PROBES = (16, 32, 64, 96, 128, 192, 256, 384, 512, 768)  # groups to look into, tried in this order
_TRAIN_PER_LIST = 40  # vectors a centre is learned from
_ROUNDS = 10  # of k-means
_BLOCK = 50_000  # vectors added at once
_NARROW = 5_000  # allowed items that are all compared, however far they lie
_WIDE = 0.5  # share of allowed items from which on a filter hardly changes the way


class IvfIndex:
    """n vectors in about 4 √n groups. Build it with `build`; it is searched from many threads.

    Args:
        info: what it is made of; `info.probes` groups are searched.
        item_ids: n ids in row order.
        index: FAISS's inverted lists.
    """

    def __init__(self, info: IndexInfo, item_ids: Sequence[str], index: Any) -> None:
        self._info, self._item_ids, self._index = info, item_ids, index
        self._coarse: Any = faiss.downcast_index(index.quantizer)
        self._list_of = _list_of_rows(index)  # (n,)
        index.make_direct_map()

    @classmethod
    def build(
        cls,
        info: IndexInfo,
        item_ids: Sequence[str],
        vectors: NDArray[np.float32],
        asked: NDArray[np.float32],
    ) -> IvfIndex:
        """From the vectors of all items; `probes` and `recall` are measured and filled in.

        Args:
            info: what it is made of.
            item_ids: n ids in row order.
            vectors: (n, d) float32, in row order.
            asked: (q, d) float32, questions that choose and tell the recall (see `calibration`).
        """
        check_pairs(info, item_ids, vectors)
        checked = as_vectors(vectors, info.dimension)
        index = _grouped(checked, list_count(len(checked)))
        probes, recall = _measure_probes(index, checked, as_vectors(asked, info.dimension))
        measured = info.model_copy(update={"probes": probes, "recall": round(recall, 4)})
        return cls(measured, item_ids, index)

    @property
    def info(self) -> IndexInfo:
        """What it was made of."""
        return self._info

    @property
    def item_ids(self) -> Sequence[str]:
        """Item ids; an item's row is its place here."""
        return self._item_ids

    def vectors_of(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """(n, d) float32, the vectors of these items, as rounded to 16 bits."""
        wanted = np.asarray(rows, dtype=np.int64)
        out: NDArray[np.float32] = self._index.reconstruct_batch(wanted)
        return out

    def search(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> Hits:
        """The k items with the largest inner product, of those that are allowed (see `base`)."""
        check_k(k)
        check_mask(allowed, self._info.items)
        checked = as_vectors(queries, self._info.dimension)
        possible = self._info.items if allowed is None else int(np.count_nonzero(allowed))
        share = possible / self._info.items
        if allowed is None or share >= _WIDE:
            probes = min(self._index.nlist, int(np.ceil(self._info.probes / share)))
            found = _search(self._index, checked, k, probes, allowed)
        else:
            found = self._search_narrow(checked, k, allowed)
        wanted = min(k, possible)
        if (found.rows[:, wanted - 1 : wanted] < 0).any():  # the groups held too few
            found = _search(self._index, checked, k, self._index.nlist, allowed)
        return found

    def save(self, folder: Path) -> None:
        """Keep it in `folder`, replacing what an earlier save left there in one step."""
        write_saved(folder, self._info, self._item_ids, write_faiss(self._index))

    def _search_narrow(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_]
    ) -> Hits:
        """Search only groups with allowed items, nearest first, until enough of them were seen."""
        lists = self._index.nlist
        members = np.bincount(self._list_of[np.flatnonzero(allowed)], minlength=lists)  # (lists,)
        filled = members > 0
        with few_threads(len(queries)):
            order = self._coarse.search(queries, lists)[1]  # (q, lists), nearest group first
        seen = members[order].cumsum(axis=1)  # (q, lists)
        groups = filled[order].cumsum(axis=1)  # (q, lists), of those that hold allowed items
        enough = max(k, _NARROW, self._info.probes * self._info.items // lists)
        needed = np.where(seen < enough, groups + 1, 1).max(initial=1)
        probes = min(int(needed), max(1, int(filled.sum())))
        return _search(self._index, queries, k, probes, allowed, filled)


def list_count(items: int) -> int:
    """Groups for so many items: the power of two nearest to 4 √n.

    >>> list_count(100_000), list_count(1_000_000)
    (1024, 4096)
    """
    return int(2 ** max(0, round(np.log2(4 * np.sqrt(max(1, items))))))


def _grouped(vectors: NDArray[np.float32], lists: int) -> Any:
    """Centres learned from a sample, then every vector put into its group."""
    items, dimension = vectors.shape
    lists = min(lists, items)
    sample = np.random.default_rng(0).permutation(items)[: _TRAIN_PER_LIST * lists]
    with meter(f"Item index: {lists} groups of {items:,} items"):
        centres = faiss.Kmeans(
            dimension, lists, niter=_ROUNDS, spherical=True, seed=1, min_points_per_centroid=1
        )
        centres.train(vectors[np.sort(sample)])
    coarse: Any = faiss.IndexFlatIP(dimension)
    coarse.add(centres.centroids)
    metric, form = faiss.METRIC_INNER_PRODUCT, faiss.ScalarQuantizer.QT_fp16
    index = faiss.IndexIVFScalarQuantizer(coarse, dimension, lists, form, metric, False)
    index.own_fields = True
    coarse.this.disown()
    index.train(vectors[:1])
    with meter("Item index: items into groups", items, "items") as progress:
        for start in range(0, items, _BLOCK):
            index.add(vectors[start : start + _BLOCK])
            progress.advance(min(_BLOCK, items - start))
    return index


def _measure_probes(
    index: Any, vectors: NDArray[np.float32], asked: NDArray[np.float32]
) -> tuple[int, float]:
    """The fewest groups to look into for `TARGET_RECALL`, and the recall that was measured."""
    truth = Truth(asked)
    truth.see(0, vectors)

    def probing(probes: int, questions: NDArray[np.float32]) -> NDArray[np.int32]:
        return _search(index, questions, DEPTH, probes).rows

    tried = (*(probes for probes in _PROBES if probes < index.nlist), index.nlist)
    return choose_probes(tried, probing, truth)


def _search(
    index: Any,
    queries: NDArray[np.float32],
    k: int,
    probes: int,
    allowed: NDArray[np.bool_] | None = None,
    groups: NDArray[np.bool_] | None = None,
) -> Hits:
    """FAISS's own search of the nearest `probes` groups, of those named by `groups` (lists,)."""
    chosen = faiss.SearchParametersIVF()
    chosen.nprobe = probes
    kept: list[object] = []  # FAISS reads these during the search without owning them
    if allowed is not None:
        bits, chosen.sel = selecting(allowed)
        kept += [bits, chosen.sel]
    if groups is not None:
        coarse = faiss.SearchParameters()
        bits, coarse.sel = selecting(groups)
        chosen.quantizer_params = coarse
        kept += [bits, coarse.sel, coarse]
    with few_threads(len(queries)):
        hits = as_hits(*index.search(queries, k, params=chosen))
    kept.clear()
    return hits


def _list_of_rows(index: Any) -> NDArray[np.intp]:
    """(n,) the group of each item row."""
    out = np.zeros(index.ntotal, dtype=np.intp)
    lists = index.invlists
    for number in range(index.nlist):
        size = lists.list_size(number)
        if size:
            out[faiss.rev_swig_ptr(lists.get_ids(number), size)] = number
    return out
