"""Kept masks are those that the filter would make, and no more than allowed are kept."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretaste.agents.retrieval.masks import Masks
from foretaste.data.tables import COLUMNS
from foretaste.serving.index.filters import ItemFilter


def _items(prices: list[float]) -> pl.DataFrame:
    rows = [{"item_id": str(i), "price": price} for i, price in enumerate(prices)]
    return pl.DataFrame(rows, schema=COLUMNS["items"])


def test_a_mask_is_worked_out_once_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    mask = ItemFilter.mask

    def counted(wanted: ItemFilter, items: pl.DataFrame) -> np.ndarray:
        made.append(items.height)
        return mask(wanted, items)

    monkeypatch.setattr(ItemFilter, "mask", counted)
    masks, items, cheap = Masks(), _items([1, 5, 9]), ItemFilter(price_max=5)
    first = masks.of(cheap, items)
    first[:] = False
    assert masks.of(cheap, items).tolist() == [True, True, False], "nobody's copy changes it"
    assert masks.of(ItemFilter(price_max=5), items).tolist() == [True, True, False]
    assert made == [3]
    assert masks.of(cheap, _items([9, 9])).tolist() == [False, False]
    assert made == [3, 2], "another table, another mask"


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4)), max_size=20))
def test_bounded_and_right_in_any_order(asked: list[tuple[int, int]]) -> None:
    tables = [_items([0, 1, 2, 3]), _items([4, 3, 2, 1, 0])]
    masks = Masks(most=2)
    for table, price in asked:
        wanted = ItemFilter(price_max=price)
        found = masks.of(wanted, tables[table])
        assert np.array_equal(found, wanted.mask(tables[table]))
        assert len(masks._kept) <= 2
