"""Masks of filters, kept: at a million items working one out takes a third of a second."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foretaste.serving.index.filters import ItemFilter

KEPT = 256  # masks; one of a million items takes 125 kB


class Masks:
    """The newest masks, by filter and by the very table they are about. Safe to use from threads.

    A changed catalogue is another table, whose masks are worked out anew; those of the table before
    are let go.

    Args:
        most: masks kept.

    >>> items = pl.DataFrame({"item_id": ["a", "b"], "price": [4.0, 9.0]})
    >>> masks = Masks()
    >>> masks.of(ItemFilter(price_min=5), items).tolist()
    [False, True]
    """

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._guard = threading.Lock()
        # Holding the table keeps its id from being given to another one.
        self._kept: OrderedDict[tuple[str, int], tuple[pl.DataFrame, NDArray[np.uint8]]]
        self._kept = OrderedDict()

    def of(self, wanted: ItemFilter, items: pl.DataFrame) -> NDArray[np.bool_]:
        """(items,) bool, True for the rows that pass, in a new array."""
        if wanted.is_empty:
            return wanted.mask(items)
        key = (wanted.model_dump_json(), id(items))
        with self._guard:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
        if known is not None:
            return np.unpackbits(known[1], count=items.height).astype(bool)
        mask = wanted.mask(items)
        with self._guard:
            self._kept[key] = (items, np.packbits(mask))
            for old in [key for key in self._kept if key[1] != id(items)]:
                del self._kept[old]
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return mask


MASKS = Masks()  # of the process: a catalogue is served to all of it
