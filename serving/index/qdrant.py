"""The index of catalogues that stand on servers of their own: a Qdrant collection, sharded there.

Vectors are sent in batches and never stand in memory together. Qdrant parts them over its shards by
their row, searches all shards at once and merges what they find; its graph is approximate, so the
`ef` of a search is chosen, and its recall told, as for the other kinds (`calibration.py`).

A filter is a mask of rows. Up to `outside.NARROW` allowed rows are read and compared one by one;
otherwise the search is made deeper by the share that is allowed; where that is too deep, or comes
back short, the rows are named in a condition that Qdrant applies inside the search.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.progress import meter
from foretaste.serving.index.base import IndexInfo, as_vectors
from foretaste.serving.index.calibration import Truth
from foretaste.serving.index.outside import OutsideIndex, Rows
from foretaste.serving.index.saved import write_saved

KEY, SHARDS = "FORETASTE_INDEX_KEY", "FORETASTE_INDEX_SHARDS"
_EF = (128, 256, 512, 1024)  # candidates that a search of the graph keeps
_DEEPER = 2  # times as deep as the allowed share asks for, because shares differ around a query
_DEEPEST = 10_000  # hits of one search
_TOGETHER = 1_000  # vectors sent or read at once
_TIMEOUT_S = 60
_WHERE_FILE = "where.json"


class QdrantIndex(OutsideIndex):
    """n vectors in a Qdrant collection. Build it with `build`; it is searched from many threads.

    Args:
        info: what it is made of; `info.probes` is the `ef` of a search.
        item_ids: n ids in row order.
        uri: of the Qdrant server, `http://host:6333`.
        name: of the collection there.

    Raises:
        InputError: its library is missing.
        ForetasteError: there is no such collection, or it does not answer.
    """

    def __init__(self, info: IndexInfo, item_ids: Sequence[str], uri: str, name: str) -> None:
        super().__init__(info, item_ids)
        self._uri, self._name, self._client = uri, name, connected(uri)
        with _asking(uri):
            count = self._client.count(name, exact=True).count
        if count != info.items:
            raise ForetasteError(
                f"Collection {name} at {uri} holds {count} items, not {info.items}; delete it and "
                "build the item index again."
            )

    @classmethod
    def build(
        cls,
        info: IndexInfo,
        item_ids: Sequence[str],
        batches: Iterable[NDArray[np.float32]],
        asked: NDArray[np.float32],
        uri: str,
    ) -> QdrantIndex:
        """Write a new collection at `uri` and open it.

        Args:
            info: what it is made of; `probes` and `recall` are measured and filled in.
            item_ids: n ids in row order.
            batches: the n vectors, (m, d) float32 each, in row order; each is read once.
            asked: (q, d) float32, questions that choose and tell the recall (see `calibration`).
            uri: of the server; `FORETASTE_INDEX_SHARDS` says in how many shards, its own rule if
                unset, and `FORETASTE_INDEX_KEY` is its API key.

        Raises:
            InputError: not one vector an item, or vectors of another width.
            ForetasteError: the server would not take them.
        """
        from qdrant_client import models

        truth, client = Truth(as_vectors(asked, info.dimension)), connected(uri)
        name, start = f"foretaste_{uuid.uuid4().hex[:12]}", 0
        vectors_are = models.VectorParams(
            size=info.dimension, distance=models.Distance.DOT, on_disk=True
        )
        with meter("Item index: items into Qdrant", info.items, "items") as progress, _asking(uri):
            client.create_collection(name, vectors_config=vectors_are, shard_number=_shards())
            for batch in batches:
                vectors = as_vectors(batch, info.dimension)  # (m, d)
                truth.see(start, vectors)
                for first in range(0, len(vectors), _TOGETHER):
                    some = vectors[first : first + _TOGETHER]
                    ids = list(range(start + first, start + first + len(some)))
                    client.upsert(name, models.Batch(ids=ids, vectors=some.tolist()), wait=True)
                    progress.advance(len(some))
                start += len(vectors)
        if not len(item_ids) == info.items == start:
            raise InputError(
                f"One vector an item was expected: {len(item_ids)} items, {start} vectors."
            )
        index = cls(info, item_ids, uri, name)
        index._calibrate(_EF, truth, "candidates kept (ef)")
        return index

    @classmethod
    def load(cls, info: IndexInfo, item_ids: Sequence[str], place: Path) -> QdrantIndex:
        """The index that `save` left in `place`."""
        where = json.loads((place / _WHERE_FILE).read_text(encoding="utf-8"))
        return cls(info, item_ids, where["uri"], where["name"])

    def save(self, folder: Path) -> None:
        """Keep its address in `folder`, in one step; the collection of an earlier save is dropped."""
        earlier = [json.loads(file.read_text()) for file in folder.glob(f"v-*/{_WHERE_FILE}")]

        def put(part: Path) -> None:
            where = {"uri": self._uri, "name": self._name}
            (part / _WHERE_FILE).write_text(json.dumps(where), encoding="utf-8")

        write_saved(folder, self._info, self._item_ids, put)
        for where in earlier:
            if where["uri"] == self._uri and where["name"] != self._name:
                with _asking(self._uri):
                    self._client.delete_collection(where["name"])

    def _near(
        self, query: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None, possible: int
    ) -> tuple[Rows, NDArray[np.float32]]:
        if allowed is None:
            return self._asked(query, k)
        deeper = int(np.ceil(_DEEPER * k * self._info.items / possible))
        if deeper <= _DEEPEST:
            rows, scores = self._asked(query, deeper)
            kept = allowed[rows]
            if kept.sum() >= k:
                return rows[kept], scores[kept]
        return self._asked(query, k, _condition(allowed, possible))

    def _asked(
        self, query: NDArray[np.float32], depth: int, condition: Any = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(m,) rows and scores by Qdrant, best first."""
        from qdrant_client import models

        with _asking(self._uri):
            found = self._client.query_points(
                self._name,
                query=query.tolist(),
                limit=depth,
                query_filter=condition,
                search_params=models.SearchParams(hnsw_ef=self._info.probes or None),
                with_payload=False,
            ).points
        rows = np.asarray([point.id for point in found], dtype=np.int64)
        return rows, np.asarray([point.score for point in found], dtype=np.float32)

    def _vectors(self, rows: Rows) -> NDArray[np.float32]:
        out = np.zeros((len(rows), self._info.dimension), dtype=np.float32)
        place_of = {int(row): place for place, row in enumerate(rows)}
        for first in range(0, len(rows), _TOGETHER):
            ids = rows[first : first + _TOGETHER].tolist()
            with _asking(self._uri):
                points = self._client.retrieve(
                    self._name, ids, with_vectors=True, with_payload=False
                )
            for point in points:
                out[place_of[point.id]] = point.vector
        return out


def connected(uri: str) -> Any:
    """A client of the Qdrant at `uri`.

    Raises:
        InputError: its library is missing.
    """
    try:
        from qdrant_client import QdrantClient
    except ImportError as error:
        raise InputError(
            "The item index stands in Qdrant and its library is missing; install foretaste[qdrant]."
        ) from error
    with _asking(uri):
        return QdrantClient(
            url=uri, api_key=os.environ.get(KEY), timeout=_TIMEOUT_S, check_compatibility=False
        )


def _shards() -> int | None:
    wished = os.environ.get(SHARDS)
    if not wished:
        return None
    if not wished.isdigit() or int(wished) < 1:
        raise InputError(f"{SHARDS} should be a number of shards or unset, not {wished!r}.")
    return int(wished)


def _condition(allowed: NDArray[np.bool_], possible: int) -> Any:
    """The mask in Qdrant's words: the allowed rows, or the forbidden ones where those are fewer."""
    from qdrant_client import models

    if possible <= len(allowed) - possible:
        rows = np.flatnonzero(allowed).tolist()
        return models.Filter(must=[models.HasIdCondition(has_id=rows)])
    rows = np.flatnonzero(~allowed).tolist()
    return models.Filter(must_not=[models.HasIdCondition(has_id=rows)])


@contextmanager
def _asking(uri: str) -> Iterator[None]:
    """Turn what the client raises into one sentence."""
    from qdrant_client.http.exceptions import ApiException

    try:
        yield
    except (ApiException, OSError, ValueError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ForetasteError(
            f"Qdrant at {uri} did not do its work ({first}); check FORETASTE_INDEX_URI and that it "
            "runs, or build the item index again."
        ) from error
