"""Which items may be found: categories, attributes, prices, allow and deny lists, as one mask."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

Names = tuple[Annotated[str, Field(min_length=1, max_length=200)], ...]


class ItemFilter(BaseModel):
    """A wish about the items that may be found. Everything that is given must hold.

    Names are compared without regard to case. An empty filter allows every item.

    Attributes:
        categories: the item is in at least one of these.
        not_categories: the item is in none of these.
        attributes: for each name, the item carries one of the values.
        price_min: in the catalogue's currency, inclusive; an item without a price fails.
        price_max: the same from above.
        allow: only these item ids, when given (an empty list allows nothing).
        deny: none of these item ids.

    >>> from foretaste.data.tables import COLUMNS
    >>> rows = [{"item_id": "a", "categories": ["Lips"], "price": 4.0},
    ...         {"item_id": "b", "categories": ["Hair"], "price": 9.0}]
    >>> items = pl.DataFrame(rows, schema=COLUMNS["items"])
    >>> ItemFilter(categories=("lips",)).mask(items).tolist()
    [True, False]
    >>> ItemFilter(price_min=5).mask(items).tolist()
    [False, True]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    categories: Names = ()
    not_categories: Names = ()
    attributes: dict[str, Names] = Field(default_factory=dict, max_length=50)
    price_min: float | None = Field(default=None, allow_inf_nan=False)
    price_max: float | None = Field(default=None, allow_inf_nan=False)
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _prices_in_order(self) -> ItemFilter:
        if self.price_min is not None and self.price_max is not None:
            low, high = self.price_min, self.price_max
            if low > high:
                raise ValueError(
                    f"price_min {low:g} is above price_max {high:g}; swap them or leave one out"
                )
        return self

    @property
    def is_empty(self) -> bool:
        """Whether it allows every item."""
        return self == ItemFilter()

    def mask(self, items: pl.DataFrame) -> NDArray[np.bool_]:
        """(n,) bool, True for the rows of the items table that pass."""
        if self.is_empty:
            return np.ones(items.height, dtype=bool)
        conditions = pl.all_horizontal([pl.lit(True), *self._conditions()])
        passed = items.select(conditions.fill_null(False).alias("passed"))["passed"]
        out: NDArray[np.bool_] = passed.to_numpy().astype(bool)
        return out if len(out) == items.height else np.repeat(out, items.height)

    def _conditions(self) -> list[pl.Expr]:
        """One boolean expression over the items table for each wish."""
        found: list[pl.Expr] = []
        if self.categories:
            found.append(_in_categories(self.categories))
        if self.not_categories:
            found.append(~_in_categories(self.not_categories).fill_null(False))
        found += [_has_attribute(name, values) for name, values in self.attributes.items()]
        if self.price_min is not None:
            found.append(pl.col("price") >= self.price_min)
        if self.price_max is not None:
            found.append(pl.col("price") <= self.price_max)
        if self.allow is not None:
            found.append(pl.col("item_id").is_in(list(self.allow)))
        if self.deny:
            found.append(~pl.col("item_id").is_in(list(self.deny)))
        return found


def _in_categories(names: Names) -> pl.Expr:
    """Whether any of the item's categories is one of `names`."""
    wanted = [name.casefold() for name in names]
    return pl.col("categories").list.eval(pl.element().str.to_lowercase().is_in(wanted)).list.any()


def _has_attribute(name: str, values: Names) -> pl.Expr:
    """Whether the item carries attribute `name` with one of `values`."""
    wanted = [value.casefold() for value in values]
    fields = pl.element().struct
    matches = (fields.field("name").str.to_lowercase() == name.casefold()) & fields.field(
        "value"
    ).str.to_lowercase().is_in(wanted)
    return pl.col("attributes").list.eval(matches).list.any()
