"""Items and interactions that arrive while serving: one checked row each, in the tables' columns."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from foretaste.data.tables import COLUMNS

Identifier = Annotated[str, Field(min_length=1, max_length=200)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Event = Literal["view", "click", "cart", "purchase", "rating", "search"]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Item(_Row):
    """One item of the catalogue, as a caller sends it.

    Attributes:
        item_id: new, or the id of an item that this one replaces.
        attributes: name → value.
        price: in the catalogue's currency.
    """

    item_id: Identifier
    title: str | None = Field(None, max_length=1_000)
    description: str | None = Field(None, max_length=20_000)
    categories: tuple[Name, ...] = Field((), max_length=50)
    attributes: dict[Name, Annotated[str, Field(max_length=1_000)]] = Field({}, max_length=100)
    price: float | None = Field(None, ge=0, allow_inf_nan=False)
    image_url: str | None = Field(None, max_length=2_000)

    def row(self) -> dict[str, Any]:
        """The columns of the items table."""
        pairs = [{"name": name, "value": value} for name, value in self.attributes.items()]
        return self.model_dump() | {"categories": list(self.categories), "attributes": pairs}


class Interaction(_Row):
    """One thing that a person did.

    Attributes:
        timestamp: seconds since 1970; the present when left out.
        value: of a rating.
        query: text of a search; a search needs no item.
        event_id: the caller's own name of this event: sent twice, it counts once.
    """

    user_id: Identifier
    item_id: Identifier | None = None
    event: Event = "view"
    timestamp: int = Field(default_factory=lambda: int(time.time()), ge=0, lt=2**40)
    value: float | None = Field(None, allow_inf_nan=False)
    query: str | None = Field(None, min_length=1, max_length=500)
    event_id: Identifier | None = None

    @model_validator(mode="after")
    def _about_something(self) -> Interaction:
        if self.item_id is None and (self.event != "search" or self.query is None):
            raise ValueError("an item_id was expected; only a search with a query goes without")
        return self


def items_frame(items: Sequence[Item]) -> pl.DataFrame:
    """The items as a table, one row each.

    >>> items_frame([Item(item_id="7", title="Heat", attributes={"year": "1995"})]).row(0)[:2]
    ('7', 'Heat')
    """
    return pl.DataFrame([item.row() for item in items], schema=COLUMNS["items"])
