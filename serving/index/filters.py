"""Which items a caller allows: one object, turned into one mask over the catalogue."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict


class ItemFilter(BaseModel):
    """Conditions that every found item fulfils; an empty filter allows all.

    Attributes:
        categories: at least one of these; letter case does not matter.
        attributes: name → value, every one of them.
        min_price, max_price: in the catalogue's own unit; an item without a price fails both.
        allow: only these item ids, when given.
        deny: never these item ids.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    categories: tuple[str, ...] = ()
    attributes: dict[str, str] = {}
    min_price: float | None = None
    max_price: float | None = None
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()

    def mask(self, items: pl.DataFrame) -> NDArray[np.bool_]:
        """(n,) bool over the rows of an items table; a new array that the caller may change."""
        conditions = self._conditions()
        if not conditions:
            return np.ones(items.height, dtype=bool)
        passes = items.select(pl.all_horizontal(conditions).fill_null(False).alias("passes"))
        return passes["passes"].to_numpy().copy()

    def _conditions(self) -> list[pl.Expr]:
        found = []
        if self.categories:
            wanted = [name.casefold() for name in self.categories]
            lowered = pl.col("categories").list.eval(pl.element().str.to_lowercase())
            found.append(pl.any_horizontal(lowered.list.contains(name) for name in wanted))
        for name, value in self.attributes.items():
            pair = pl.struct(name=pl.lit(name), value=pl.lit(value))
            found.append(pl.col("attributes").list.contains(pair))
        if self.min_price is not None:
            found.append(pl.col("price") >= self.min_price)
        if self.max_price is not None:
            found.append(pl.col("price") <= self.max_price)
        if self.allow is not None:
            found.append(pl.col("item_id").is_in(list(self.allow)))
        if self.deny:
            found.append(~pl.col("item_id").is_in(list(self.deny)))
        return found
