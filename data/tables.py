"""The four tables of a data set: their columns, their types and what every row must hold.

Everything that reads, writes, maps or checks a table takes its columns from here.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import polars as pl

from foretaste.data.errors import DataError

Table = Literal["items", "interactions", "users", "environment"]
TABLES: tuple[Table, ...] = ("items", "interactions", "users", "environment")

EVENTS = ("view", "click", "cart", "purchase", "rating", "search")
KINDS = ("weather", "season", "holiday", "trend")

ATTRIBUTES = pl.List(pl.Struct({"name": pl.String, "value": pl.String}))

#: Column → type, in the order in which the columns are stored.
COLUMNS: dict[Table, dict[str, pl.DataType]] = {
    "items": {
        "item_id": pl.String(),
        "title": pl.String(),
        "description": pl.String(),
        "categories": pl.List(pl.String),
        "attributes": ATTRIBUTES,
        "price": pl.Float64(),
        "image_url": pl.String(),
    },
    "interactions": {
        "user_id": pl.String(),
        "item_id": pl.String(),
        "timestamp": pl.Int64(),
        "event": pl.String(),
        "value": pl.Float64(),
        "query": pl.String(),
        "position": pl.Int64(),
    },
    "users": {"user_id": pl.String(), "attributes": ATTRIBUTES},
    "environment": {
        "start": pl.Int64(),
        "end": pl.Int64(),
        "kind": pl.String(),
        "text": pl.String(),
    },
}

#: Columns that a source must have (`timestamp` may be missing when `order_only` is forced).
REQUIRED: dict[Table, tuple[str, ...]] = {
    "items": ("item_id",),
    "interactions": ("user_id", "item_id", "timestamp"),
    "users": ("user_id",),
    "environment": ("start", "kind", "text"),
}

#: Columns that name a row and occur once in the table.
KEYS: dict[Table, str] = {"items": "item_id", "users": "user_id"}

#: Order of the stored interactions: by user, then time, then the order of the source.
ORDER = ["user_id", "timestamp", "position"]


def empty(table: Table) -> pl.DataFrame:
    """The table without rows."""
    return pl.DataFrame(schema=COLUMNS[table])


def validate(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` itself when it is a valid table; otherwise `DataError` with the first fault.

    Importing puts bad rows aside beforehand, so a fault here is one of the caller's code.
    """
    import pandera.polars as pa
    from pandera.errors import SchemaError, SchemaErrors

    try:
        _schemas()[table].validate(frame)
    except (SchemaError, SchemaErrors, pa.errors.SchemaDefinitionError) as error:
        first = str(error).strip().splitlines()[0]
        raise DataError(
            f"The {table} table is not valid ({first}); expected the columns "
            f"{', '.join(COLUMNS[table])} with one valid value a row."
        ) from error
    return frame


@cache
def _schemas() -> dict[Table, Any]:
    """One pandera schema a table, made when first needed (pandera takes a second to import)."""
    import pandera.polars as pa

    def column(table: Table, name: str, *checks: Any, null: bool = False) -> Any:
        unique = KEYS.get(table) == name
        return pa.Column(COLUMNS[table][name], list(checks), nullable=null, unique=unique)

    filled = pa.Check.str_length(min_value=1)
    since_1970 = pa.Check.ge(0)
    free = {"title", "description", "price", "image_url", "value", "query"}
    checks: dict[str, list[Any]] = {
        "item_id": [filled],
        "user_id": [filled],
        "text": [filled],
        "timestamp": [since_1970],
        "start": [since_1970],
        "end": [since_1970],
        "price": [since_1970],
        "event": [pa.Check.isin(EVENTS)],
        "kind": [pa.Check.isin(KINDS)],
    }
    schemas = {}
    for table, columns in COLUMNS.items():
        searches = {"item_id"} if table == "interactions" else set()
        schemas[table] = pa.DataFrameSchema(
            {
                name: column(table, name, *checks.get(name, []), null=name in free | searches)
                for name in columns
            },
            strict=True,
            ordered=True,
            checks=_searches(pa) if table == "interactions" else None,
        )
    return schemas


def _searches(pa: Any) -> Any:
    """Only a search may lack its item, and then it has a query."""
    about_something = pl.col("item_id").is_not_null() | (
        (pl.col("event") == "search") & pl.col("query").is_not_null()
    )
    return pa.Check(
        lambda data: data.lazyframe.select(about_something.all()), name="item_or_search_query"
    )
