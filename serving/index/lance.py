"""The index of catalogues that outgrow memory: groups on disk or in an object store, by LanceDB.

Vectors are written in batches and never stand in memory together. LanceDB keeps them as they are
and once more in 8-bit numbers, in about 2 √n groups. A search compares the 8-bit numbers of the
nearest groups, then the float32 vectors of the best `_AGAIN` times k rows, so scores are exact.
What LanceDB holds in memory is bounded by a share of what was free when the index was opened.

A filter is a mask of rows, which LanceDB cannot take. Three ways, each giving k whenever k are
allowed: up to `outside.NARROW` allowed rows are read and compared one by one; otherwise the search
is made deeper by the share that is allowed and forbidden rows are passed over; where that is dearer
than naming the rows, or comes back short, the rows are named in a condition that is applied inside
the search. What each costs: docs/log.md, "LanceDB behind the item index".
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import psutil
import pyarrow as pa
from lancedb.index import BTree, IvfSq
from numpy.typing import NDArray

from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.progress import meter
from foretaste.serving.index.base import IndexInfo, as_vectors
from foretaste.serving.index.calibration import Truth
from foretaste.serving.index.outside import OutsideIndex, Rows
from foretaste.serving.index.saved import write_saved

_GROUPED_FROM = 2_000  # items; fewer are compared one by one
_PROBES = (8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)
_TRAIN_PER_GROUP, _ROUNDS = 64, 10  # of k-means
_AGAIN = 2  # times k rows are compared again in float32
_DEEPER = 2  # times as deep as the allowed share asks for, because shares differ around a query
_CACHE_SHARE = 0.25  # of the free memory, for what LanceDB keeps of its groups
_SMALLEST_CACHE = 64 << 20  # bytes
_WHERE_FILE, _TABLE_FOLDER = "where.json", "lance"


class LanceIndex(OutsideIndex):
    """n vectors in a LanceDB table. Build it with `build`; it is searched from many threads.

    Args:
        info: what it is made of; `info.probes` groups are searched, 0 when there are none.
        item_ids: n ids in row order.
        uri: the folder or object store (`s3://bucket/path`) that holds the table.
        name: of the table there.

    Raises:
        ForetasteError: there is no such table, or it cannot be read.
    """

    def __init__(self, info: IndexInfo, item_ids: Sequence[str], uri: str, name: str) -> None:
        super().__init__(info, item_ids)
        self._uri, self._name = uri, name
        self._table: Any = _opened(uri, name)
        count = self._table.count_rows()
        if count != info.items:
            raise _unreadable(uri, f"{info.items} items were expected in it, not {count}")

    @classmethod
    def build(
        cls,
        info: IndexInfo,
        item_ids: Sequence[str],
        batches: Iterable[NDArray[np.float32]],
        asked: NDArray[np.float32],
        uri: str,
    ) -> LanceIndex:
        """Write a new table below `uri` and open it.

        Args:
            info: what it is made of; `probes` and `recall` are measured and filled in.
            item_ids: n ids in row order.
            batches: the n vectors, (m, d) float32 each, in row order; each is read once.
            asked: (q, d) float32, questions that choose and tell the recall (see `calibration`).
            uri: a folder or an object store that may be written to.

        Raises:
            InputError: not one vector an item, or vectors of another width.
            ForetasteError: the place would not take them.
        """
        truth = Truth(as_vectors(asked, info.dimension))
        name = f"items_{uuid.uuid4().hex[:12]}"
        with meter("Item index: items into LanceDB", info.items, "items") as progress:
            records = _records(info, batches, truth, progress.advance)
            with _writing(uri):
                table: Any = _connected(uri).create_table(
                    name, data=records, schema=_schema(info.dimension)
                )
        if not len(item_ids) == info.items == table.count_rows():
            raise InputError(
                f"One vector an item was expected: {len(item_ids)} items, "
                f"{table.count_rows()} vectors."
            )
        if info.items < _GROUPED_FROM:
            return cls(info, item_ids, uri, name)
        groups = group_count(info.items)
        with _writing(uri), meter(f"Item index: {groups} groups of {info.items:,} items"):
            _group(table, groups)
        index = cls(info, item_ids, uri, name)
        tried = (*(probes for probes in _PROBES if probes < groups), groups)
        index._calibrate(tried, truth, f"of {groups} groups")
        return index

    @classmethod
    def load(cls, info: IndexInfo, item_ids: Sequence[str], place: Path) -> LanceIndex:
        """The index that `save` left in `place`."""
        where = json.loads((place / _WHERE_FILE).read_text(encoding="utf-8"))
        return cls(info, item_ids, where["uri"] or str(place / _TABLE_FOLDER), where["name"])

    def save(self, folder: Path) -> None:
        """Keep it in `folder`, replacing what an earlier save left there in one step.

        A table in a folder is saved with it (linked where that is possible) and read from there
        afterwards. A table at a URI stays where it is: its address is saved, and the table of an
        earlier save at the same URI is dropped.
        """
        remote = "://" in self._uri
        earlier = [json.loads(file.read_text()) for file in folder.glob(f"v-*/{_WHERE_FILE}")]

        def put(part: Path) -> None:
            where = {"uri": self._uri if remote else "", "name": self._name}
            (part / _WHERE_FILE).write_text(json.dumps(where), encoding="utf-8")
            if not remote:
                table = f"{self._name}.lance"
                source, target = Path(self._uri) / table, part / _TABLE_FOLDER / table
                shutil.copytree(source, target, copy_function=_link)

        place = write_saved(folder, self._info, self._item_ids, put)
        if not remote:
            self._uri = str(place / _TABLE_FOLDER)
            self._table = _opened(self._uri, self._name)
        for where in earlier:
            if where["uri"] == self._uri and where["name"] != self._name:
                with _writing(self._uri):
                    _connected(self._uri).drop_table(where["name"], ignore_missing=True)

    def _near(
        self, query: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None, possible: int
    ) -> tuple[Rows, NDArray[np.float32]]:
        near = np.sort(self._by_codes(query, k, allowed, possible))
        return near, self._vectors(near) @ query

    def _by_codes(
        self, query: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None, possible: int
    ) -> NDArray[np.int32]:
        """At least k allowed rows close to one query, by their 8-bit numbers."""
        depth = _AGAIN * k
        if allowed is None:
            return self._asked(query, k, depth, self._info.probes)
        share = possible / self._info.items
        probes = int(np.ceil(self._info.probes / share))
        deeper = int(np.ceil(_DEEPER * depth / share))
        if deeper <= min(possible, self._info.items - possible):
            found = self._asked(query, k, deeper, probes)
            kept = found[allowed[found]][:depth]
            if len(kept) >= k:
                return kept
        return self._asked(query, k, depth, probes, _condition(allowed, possible))

    def _asked(
        self, query: NDArray[np.float32], k: int, depth: int, probes: int, where: str = ""
    ) -> NDArray[np.int32]:
        """(k to depth,) rows by LanceDB, nearest first; all groups when these hold fewer than k."""
        search = self._table.search(query).distance_type("dot").select(["row", "_distance"])
        if where:
            search = search.where(where, prefilter=True)
        search = search.limit(depth)
        groups = group_count(self._info.items)
        rows = np.zeros(0, dtype=np.int32)
        for looked in (min(probes or groups, groups), groups):
            with _reading(self._uri):
                rows = search.nprobes(looked).to_arrow()["row"].to_numpy()
            if len(rows) >= k:
                break
        return rows

    def _vectors(self, rows: Rows) -> NDArray[np.float32]:
        if not len(rows):
            return np.zeros((0, self._info.dimension), dtype=np.float32)
        with _reading(self._uri):
            taken = self._table.take_offsets(rows.tolist()).select(["row", "vector"]).to_arrow()
        if not np.array_equal(taken["row"].to_numpy(), rows):
            raise _unreadable(self._uri, "its rows are not in the order of the items")
        flat = taken["vector"].combine_chunks().flatten()
        numbers: NDArray[np.float32] = flat.to_numpy(zero_copy_only=False)
        return numbers.reshape(len(rows), self._info.dimension)


def group_count(items: int) -> int:
    """Groups for so many items: the power of two nearest to 2 √n.

    >>> group_count(100_000), group_count(1_000_000)
    (512, 2048)
    """
    return int(2 ** max(0, round(np.log2(2 * np.sqrt(max(1, items))))))


def _schema(dimension: int) -> Any:
    return pa.schema([("row", pa.int32()), ("vector", pa.list_(pa.float32(), dimension))])


def _records(
    info: IndexInfo, batches: Iterable[NDArray[np.float32]], truth: Truth, done: Any
) -> Iterator[Any]:
    """The batches as LanceDB takes them, each shown to `truth` on its way."""
    start = 0
    for batch in batches:
        vectors = as_vectors(batch, info.dimension)  # (m, d)
        rows = pa.array(np.arange(start, start + len(vectors), dtype=np.int32))
        values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), info.dimension)
        truth.see(start, vectors)
        yield pa.RecordBatch.from_arrays([rows, values], schema=_schema(info.dimension))
        start += len(vectors)
        done(len(vectors))


def _group(table: Any, groups: int) -> None:
    """Put the table's vectors into groups, and its rows into a tree that conditions use."""
    table.create_index(
        "vector",
        config=IvfSq(
            distance_type="dot",
            num_partitions=groups,
            sample_rate=_TRAIN_PER_GROUP,
            max_iterations=_ROUNDS,
        ),
    )
    table.create_index("row", config=BTree())


def _condition(allowed: NDArray[np.bool_], possible: int) -> str:
    """The mask in words: the allowed rows named, or the forbidden ones where those are fewer."""
    if possible <= len(allowed) - possible:
        return f"row IN ({','.join(map(str, np.flatnonzero(allowed).tolist()))})"
    return f"row NOT IN ({','.join(map(str, np.flatnonzero(~allowed).tolist()))})"


def _connected(uri: str) -> Any:
    """LanceDB at `uri`, with a bound on what it keeps in memory."""
    room = max(_SMALLEST_CACHE, int(psutil.virtual_memory().available * _CACHE_SHARE))
    session = lancedb.Session(index_cache_size_bytes=room, metadata_cache_size_bytes=room // 4)
    return lancedb.connect(uri, session=session)


def _opened(uri: str, name: str) -> Any:
    """The table called `name` at `uri`."""
    with _reading(uri):
        return _connected(uri).open_table(name)


def _link(source: str, target: str) -> None:
    """The same file under a second name; a copy where the disk is another. LanceDB never rewrites."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@contextmanager
def _reading(uri: str) -> Iterator[None]:
    """Turn what LanceDB raises while it reads into one sentence."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreadable(uri, str(error).splitlines()[0][:200]) from error


@contextmanager
def _writing(uri: str) -> Iterator[None]:
    """Turn what LanceDB raises while it writes into one sentence."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise ForetasteError(
            f"The item index could not be written to {uri} ({str(error).splitlines()[0][:200]}); "
            "free some space there, check that it may be written to, or set FORETASTE_INDEX_URI "
            "to another place."
        ) from error


def _unreadable(uri: str, why: str) -> ForetasteError:
    return ForetasteError(
        f"The item index in {uri} cannot be read ({why}); delete it and build the item index again."
    )
