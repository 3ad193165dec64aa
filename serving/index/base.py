"""The seam of the item index: queries in, item rows and scores out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from foretaste.data.errors import InputError

Kind = Literal["exact", "ivf", "lance", "qdrant"]


class IndexInfo(BaseModel, frozen=True, extra="forbid"):
    """What an index was made of; saved beside it and compared when it is loaded.

    Attributes:
        kind: how it searches.
        items: how many items it holds.
        dimension: numbers in a vector.
        catalogue_fingerprint: of the items table (`DatasetInfo.catalogue_fingerprint`).
        embedder_fingerprint: of the embedder whose vectors these are (`Embedder.fingerprint`).
        probes: groups that a search looks into; 0 where all vectors are compared.
        recall: share of the true 100 nearest that it found for questions asked when it was built.
    """

    kind: Kind
    items: int
    dimension: int
    catalogue_fingerprint: str
    embedder_fingerprint: str
    probes: int = 0
    recall: float = 1.0


@dataclass(frozen=True)
class Hits:
    """What a search found, best first.

    Attributes:
        rows: (q, k) int32, item rows; -1 where fewer than k items were allowed.
        scores: (q, k) float32, inner products, higher is better; minus infinity beside a -1.
    """

    rows: NDArray[np.int32]
    scores: NDArray[np.float32]


class ItemIndex(Protocol):
    """Vectors of all items of a catalogue. Many threads may search at once."""

    @property
    def info(self) -> IndexInfo:
        """What it was made of."""
        ...

    @property
    def item_ids(self) -> Sequence[str]:
        """Item ids; an item's row is its place here."""
        ...

    def search(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> Hits:
        """The k items with the largest inner product, of those that are allowed.

        Args:
            queries: (q, d) float32.
            k: items asked for, at least 1.
            allowed: (n,) bool, True for the rows that may be found; None allows all. It is applied
                inside the search: k are given whenever k are allowed.

        Raises:
            InputError: a wrong shape, a number that is not finite, or k below 1.
        """
        ...

    def vectors_of(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """(n, d) float32, the vectors of these items."""
        ...

    def save(self, folder: Path) -> None:
        """Keep it in `folder`, replacing what an earlier save left there in one step."""
        ...


class Catalogued:
    """What an index of every kind knows about its items.

    Args:
        info: what it is made of.
        item_ids: n ids in row order.
    """

    def __init__(self, info: IndexInfo, item_ids: Sequence[str]) -> None:
        self._info, self._item_ids = info, item_ids

    @property
    def info(self) -> IndexInfo:
        """What it was made of."""
        return self._info

    @property
    def item_ids(self) -> Sequence[str]:
        """Item ids; an item's row is its place here."""
        return self._item_ids

    def _checked(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
    ) -> NDArray[np.float32]:
        """(q, d) the queries of a search, once its arguments are found to be in order."""
        check_k(k)
        check_mask(allowed, self._info.items)
        return as_vectors(queries, self._info.dimension)


def as_vectors(vectors: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """`vectors` as (n, dimension) contiguous float32, checked.

    Raises:
        InputError: another shape, or a number that is not finite.
    """
    array = np.ascontiguousarray(vectors, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != dimension:
        raise InputError(
            f"Vectors of shape (n, {dimension}) were expected, not {array.shape}; "
            "encode them with the embedder that the index was made with."
        )
    if not np.isfinite(array).all():
        raise InputError("Vectors of finite numbers were expected; one is NaN or infinite.")
    return array


def check_mask(allowed: NDArray[np.bool_] | None, items: int) -> None:
    """Refuse a filter that does not speak about exactly these items."""
    if allowed is not None and (allowed.dtype != np.bool_ or allowed.shape != (items,)):
        raise InputError(
            f"A filter of {items} booleans was expected, one an item, "
            f"not {allowed.dtype} of shape {allowed.shape}."
        )


def check_pairs(info: IndexInfo, item_ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
    """Refuse to build an index of items without vectors, or the other way round."""
    if len(item_ids) != len(vectors) or info.items != len(item_ids):
        raise InputError(
            f"One vector an item was expected: {len(item_ids)} items, {len(vectors)} vectors."
        )


def check_k(k: int) -> None:
    """Refuse to look for fewer than one item."""
    if k < 1:
        raise InputError(f"At least 1 item must be asked for, not {k}.")
