"""The index of large catalogues: items grouped around centres, only the nearest groups compared.

FAISS's inverted lists over spherical k-means centres, in two looks. The first compares 4-bit codes,
each of two neighbouring numbers of a vector (product quantisation, Jégou et al. 2011; tables held in
registers, "fast scan", André et al. 2015): d / 4 bytes an item. The second compares the best of them
again by vectors in 16-bit floats (2 d bytes an item, half of the exact index), so scores are exact to
16 bits. How many groups a search looks into is not guessed but measured with questions that are no
items when the index is built (`calibration`), so that 99 % of the true 100 nearest are found.
Why not HNSW, and what one look cost: docs/log.md, "The item index".

Filters decide which groups are looked into: groups without an allowed item are passed over, and the
search goes on until it has seen √share times as many allowed items as an unfiltered search sees items.
Up to `_NARROW` allowed items are all compared, and k are found whenever k are allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from foretaste.data.errors import ForetasteError
from foretaste.data.progress import Meter, meter
from foretaste.serving.index.base import (
    Catalogued,
    Hits,
    IndexInfo,
    as_vectors,
    check_pairs,
)
from foretaste.serving.index.calibration import DEPTH, Truth, choose_probes
from foretaste.serving.index.exact import as_hits, compare_all, few_threads, selecting
from foretaste.serving.index.saved import write_faiss, write_saved

_PROBES = (16, 32, 64, 96, 128, 192, 256, 384, 512, 768)  # groups to look into, tried in this order
_TRAIN_PER_LIST = 40  # vectors a centre is learned from
_ROUNDS = 10  # of k-means
_CODE_BITS = 4  # of each pair of numbers in the first look
_LEARN_CODES = 1_024  # vectors that the codes are learned from, at least
_AGAIN, _AGAIN_LEAST = 4, 600  # k × the first + the second are compared again, by 16-bit numbers
_BLOCK = 50_000  # vectors added at once
_NARROW = 5_000  # allowed items that are all compared, however far they lie
_WIDE = 0.5  # share of allowed items from which on a filter hardly changes the way


class IvfIndex(Catalogued):
    """n vectors in about 4 √n groups. Build it with `build`; it is searched from many threads.

    Args:
        info: what it is made of; `info.probes` groups are searched.
        item_ids: n ids in row order.
        index: FAISS's inverted lists of codes, and the vectors for the second look.

    Raises:
        ForetasteError: the FAISS index is of another form.
    """

    def __init__(self, info: IndexInfo, item_ids: Sequence[str], index: Any) -> None:
        if not isinstance(index, faiss.IndexRefine):
            raise ForetasteError(
                "The item index was saved in the form of an earlier version; delete its folder and "
                "build the item index again."
            )
        super().__init__(info, item_ids)
        self._index = index
        groups: Any = faiss.downcast_index(index.base_index)
        self._groups = groups
        self._coarse: Any = faiss.downcast_index(groups.quantizer)
        self._list_of = _list_of_rows(self._groups)  # (n,)

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
        index = _two_looks(checked, list_count(len(checked)))
        probes, recall = _measure_probes(index, checked, as_vectors(asked, info.dimension))
        measured = info.model_copy(update={"probes": probes, "recall": round(recall, 4)})
        return cls(measured, item_ids, index)

    def vectors_of(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, d) float32, the vectors of these items, as rounded to 16 bits."""
        wanted = np.asarray(rows, dtype=np.int64)
        out: NDArray[np.float32] = self._index.refine_index.reconstruct_batch(wanted)
        return out

    def search(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> Hits:
        """The k items with the largest inner product, of those that are allowed (see `base`)."""
        checked = self._checked(queries, k, allowed)
        possible = self._info.items if allowed is None else int(np.count_nonzero(allowed))
        if possible <= max(_NARROW, k):
            everything = np.ones(self._info.items, dtype=bool) if allowed is None else allowed
            return self._compare_few(checked, k, np.flatnonzero(everything))
        share = possible / self._info.items
        if allowed is None or share >= _WIDE:
            probes = min(self._groups.nlist, int(np.ceil(self._info.probes / share)))
            found = _search(self._index, checked, k, probes, allowed)
        else:
            found = self._search_narrow(checked, k, allowed)
        if (found.rows[:, -1] < 0).any():  # the groups held too few, or codes told nothing apart
            found = compare_all(self._index.refine_index, checked, k, allowed)
        return found

    def save(self, folder: Path) -> None:
        """Keep it in `folder`, replacing what an earlier save left there in one step."""
        write_saved(folder, self._info, self._item_ids, write_faiss(self._index))

    def _compare_few(self, queries: NDArray[np.float32], k: int, rows: NDArray[np.int64]) -> Hits:
        """The k best of these few rows."""
        depth = min(k, len(rows))
        found = np.full((len(queries), k), -1, dtype=np.int32)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        if depth and len(queries):
            with few_threads(len(queries)):
                scores[:, :depth], places = faiss.knn(
                    queries, self.vectors_of(rows), depth, metric=faiss.METRIC_INNER_PRODUCT
                )
            found[:, :depth] = rows[places]
        return Hits(found, scores)

    def _search_narrow(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_]
    ) -> Hits:
        """Search only groups with allowed items, nearest first, until enough of them were seen."""
        lists = self._groups.nlist
        members = np.bincount(self._list_of[np.flatnonzero(allowed)], minlength=lists)  # (lists,)
        filled = members > 0
        with few_threads(len(queries)):
            order = self._coarse.search(queries, lists)[1]  # (q, lists), nearest group first
        seen = members[order].cumsum(axis=1)  # (q, lists)
        groups = filled[order].cumsum(axis=1)  # (q, lists), of those that hold allowed items
        usual = self._info.probes * self._info.items / lists  # seen without a filter
        enough = max(k, usual * np.sqrt(np.count_nonzero(allowed) / self._info.items))
        needed = np.where(seen < enough, groups + 1, 1).max(initial=1)
        probes = min(int(needed), max(1, int(filled.sum())))
        return _search(self._index, queries, k, probes, allowed, filled)


def list_count(items: int) -> int:
    """Groups for so many items: the power of two nearest to 4 √n.

    >>> list_count(100_000), list_count(1_000_000)
    (1024, 4096)
    """
    return int(2 ** max(0, round(np.log2(4 * np.sqrt(max(1, items))))))


def _two_looks(vectors: NDArray[np.float32], lists: int) -> Any:
    """Every vector as codes in the group of its centre, and in 16-bit numbers."""
    items, dimension = vectors.shape
    lists = min(lists, items)
    rows = np.random.default_rng(0).permutation(items)[: _TRAIN_PER_LIST * lists]
    sample = vectors[np.sort(rows)]  # (m, d)
    work = _ROUNDS * len(sample) + items  # vectors compared with all centres
    with meter(f"Item index: {items:,} items in {lists} groups", work, "comparisons") as progress:
        centres = _centres(sample, lists, progress)  # (lists, d)
        groups, exact = _empty_groups(centres, sample), _empty_vectors(dimension)
        for start in range(0, items, _BLOCK):
            block = vectors[start : start + _BLOCK]
            groups.add(block)
            exact.add(block)
            progress.advance(len(block))
    index = faiss.IndexRefine(groups, exact)
    index.own_fields = index.own_refine_index = True
    groups.this.disown()
    exact.this.disown()
    return index


def _centres(sample: NDArray[np.float32], lists: int, progress: Meter) -> NDArray[np.float32]:
    """(lists, d) unit vectors by spherical k-means, one round at a time."""
    centres: Any = None
    for _ in range(_ROUNDS):
        means = faiss.Kmeans(
            sample.shape[1], lists, niter=1, spherical=True, seed=1, min_points_per_centroid=1
        )
        means.train(sample, init_centroids=centres)
        centres = means.centroids
        progress.advance(len(sample))
    return np.asarray(centres)


def _empty_groups(centres: NDArray[np.float32], sample: NDArray[np.float32]) -> Any:
    """Inverted lists around these centres, with codes learned from the sample."""
    lists, dimension = centres.shape
    coarse: Any = faiss.IndexFlatIP(dimension)
    coarse.add(centres)
    parts = dimension // 2 if dimension % 2 == 0 else dimension
    groups = faiss.IndexIVFPQFastScan(
        coarse, dimension, lists, parts, _CODE_BITS, faiss.METRIC_INNER_PRODUCT
    )
    groups.own_fields = True
    coarse.this.disown()
    groups.by_residual = (
        False  # codes of the vectors themselves: one table a query, not one a group
    )
    groups.train(np.resize(sample, (max(len(sample), _LEARN_CODES), dimension)))
    return groups


def _empty_vectors(dimension: int) -> Any:
    """Where the vectors stand in 16-bit numbers."""
    form = faiss.ScalarQuantizer.QT_fp16
    exact = faiss.IndexScalarQuantizer(dimension, form, faiss.METRIC_INNER_PRODUCT)
    exact.train(np.zeros((1, dimension), dtype=np.float32))
    return exact


def _measure_probes(
    index: Any, vectors: NDArray[np.float32], asked: NDArray[np.float32]
) -> tuple[int, float]:
    """The fewest groups to look into for `TARGET_RECALL`, and the recall that was measured."""
    truth = Truth(asked)
    truth.see(0, vectors)

    def probing(probes: int, questions: NDArray[np.float32]) -> NDArray[np.int32]:
        return _search(index, questions, DEPTH, probes).rows

    base: Any = faiss.downcast_index(index.base_index)
    lists = base.nlist
    tried = (*(probes for probes in _PROBES if probes < lists), lists)
    return choose_probes(tried, probing, truth)


def _search(
    index: Any,
    queries: NDArray[np.float32],
    k: int,
    probes: int,
    allowed: NDArray[np.bool_] | None = None,
    groups: NDArray[np.bool_] | None = None,
) -> Hits:
    """The two looks into the nearest `probes` groups, of those named by `groups` (lists,)."""
    first = faiss.SearchParametersIVF()
    first.nprobe = probes
    kept: list[object] = []  # FAISS reads these during the search without owning them
    if allowed is not None:
        bits, first.sel = selecting(allowed)
        kept += [bits, first.sel]
    if groups is not None:
        coarse = faiss.SearchParameters()
        bits, coarse.sel = selecting(groups)
        first.quantizer_params = coarse
        kept += [bits, coarse.sel, coarse]
    both = faiss.IndexRefineSearchParameters()
    both.k_factor = _AGAIN + _AGAIN_LEAST / k
    both.base_index_params = first
    with few_threads(len(queries)):
        hits = as_hits(*index.search(queries, k, params=both))
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
