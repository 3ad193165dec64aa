"""What the cells of a source mean: texts, numbers, lists and attributes, whatever their type.

Every function takes a series of a source and gives one of the same length; a cell without a
meaning becomes null.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from foretaste.data.tables import ATTRIBUTES

_WITHOUT_TEXT = (pl.Binary, pl.Object, pl.Duration)  # polars does not write these as text
_INNER_SPACE = "\u00a0"  # a space inside a RecBole token, where plain spaces part tokens


def as_text(values: pl.Series) -> pl.Series:
    """Text without white space around it; nothing becomes null, lists are joined by spaces.

    Whole numbers that a source keeps as floats lose their `.0`: 7.0 names the item 7.
    """
    if values.dtype.is_float():
        whole = values.fill_nan(None)
        if bool((whole == whole.round()).all()) and bool((whole.abs() < 2**53).all()):
            values = whole.cast(pl.Int64)
    if isinstance(values.dtype, pl.List | pl.Array):
        values = _parts(values).list.join(" ")
    if values.dtype in _WITHOUT_TEXT or isinstance(values.dtype, pl.Struct):
        cells = [None if cell is None else _part(cell) for cell in values.to_list()]
        values = pl.Series(values.name, cells, dtype=pl.String)
    text = values.cast(pl.String, strict=False).str.strip_chars()
    return text.set(text == "", None)


def as_number(values: pl.Series) -> pl.Series:
    """Float64; null where a cell is not a finite number."""
    if not values.dtype.is_numeric():
        values = as_text(values)
    numbers = values.cast(pl.Float64, strict=False)
    return numbers.set(~numbers.is_finite().fill_null(True), None)


def as_price(values: pl.Series) -> pl.Series:
    """Float64 from 0 on; currency signs and thousands commas are read past: `$1,299.00`."""
    if not values.dtype.is_numeric():
        values = as_text(values).str.replace_all(r"[$€£¥,\s]", "")
    numbers = as_number(values)
    return numbers.set((numbers < 0).fill_null(False), None)


def as_list(values: pl.Series, separator: str, tokens: bool = False) -> pl.Series:
    """List of texts; empty for nothing.

    Args:
        values: lists, or text cells: a JSON array, or parts between `separator`.
        separator: between the parts of a cell.
        tokens: a RecBole sequence, whose parts stand between spaces.
    """
    if isinstance(values.dtype, pl.List | pl.Array):
        lists = _parts(values)
    elif tokens:
        lists = as_text(values).str.split(" ")
    else:
        text = as_text(values)
        lists = text.str.split(separator)
        if bool(text.str.starts_with("[").any()):
            lists = pl.Series(
                [_json_list(cell, separator) for cell in text], dtype=pl.List(pl.String)
            )
    part = pl.element().str.replace_all(_INNER_SPACE, " ").str.strip_chars()
    cleaned = lists.to_frame("v").select(
        pl.col("v").list.eval(part.filter((part != "") & part.is_not_null())).fill_null([])
    )
    return cleaned.to_series().alias(values.name)


def as_attributes(frame: pl.DataFrame, column: str | None, extras: tuple[str, ...]) -> pl.Series:
    """List of {name, value} a row: those of the attribute column, then one for each extra cell.

    Args:
        frame: the source.
        column: holds lists of {name, value}, objects, or text: JSON of either, or
            `name: value; name: value`. A text that is none of these gives a null row.
        extras: columns whose cells become attributes under the column's name; list cells give
            one attribute for each of their parts.
    """
    named: list[pl.Series] = []
    if column is not None:
        named += _attribute_column(frame[column])
    for name in extras:
        named.append(_attribute_cells(name, frame[name]))
    if not named:
        return pl.Series("attributes", [[]], dtype=ATTRIBUTES).new_from_index(0, frame.height)
    parts = pl.DataFrame([part.alias(str(place)) for place, part in enumerate(named)])
    return parts.select(pl.concat_list(pl.all()).alias("attributes")).to_series()


def _attribute_column(values: pl.Series) -> list[pl.Series]:
    if isinstance(values.dtype, pl.Struct):
        return [
            _attribute_cells(field.name, values.struct.field(field.name))
            for field in values.dtype.fields
        ]
    if values.dtype == ATTRIBUTES:
        return [values.fill_null([])]
    if isinstance(values.dtype, pl.List | pl.Array) and not isinstance(
        values.dtype.inner, pl.Struct
    ):
        return [_attribute_cells("attribute", values)]
    cells = values.to_list() if isinstance(values.dtype, pl.List | pl.Array) else as_text(values)
    return [pl.Series([_read_attributes(cell) for cell in cells], dtype=ATTRIBUTES)]


def _attribute_cells(name: str, values: pl.Series) -> pl.Series:
    """One list a row: a {name, value} for a scalar cell, one for each part of a list cell."""
    if isinstance(values.dtype, pl.List | pl.Array):
        lists = as_list(values, "|")
    else:
        text = as_text(values)
        lists = text.to_frame("v").select(pl.concat_list("v").list.drop_nulls()).to_series()
    pair = pl.struct(pl.lit(name).alias("name"), pl.element().alias("value"))
    return lists.to_frame("v").select(pl.col("v").list.eval(pair).cast(ATTRIBUTES)).to_series()


def _parts(values: pl.Series) -> pl.Series:
    """Lists of anything as lists of text; lists within lists are laid flat."""
    inner = values.dtype.inner if isinstance(values.dtype, pl.List | pl.Array) else None
    if inner is not None and not inner.is_nested() and inner not in _WITHOUT_TEXT:
        return values.cast(pl.List(pl.String), strict=False)
    cells = [None if cell is None else list(_flat(cell)) for cell in values.to_list()]
    return pl.Series(values.name, cells, dtype=pl.List(pl.String))


def _flat(cell: Iterable[Any]) -> Iterator[str]:
    for one in cell:
        if isinstance(one, list):
            yield from _flat(one)
        elif one is not None:
            yield _part(one)


def _part(one: Any) -> str:
    """One part of a list, or one value of a type without a text of its own."""
    if isinstance(one, bytes):
        return one.decode("utf-8", errors="replace")
    if isinstance(one, dict):
        return json.dumps(one, ensure_ascii=False, default=str)
    return str(one)


def _json_list(cell: str | None, separator: str) -> list[str] | None:
    if cell is None or not cell.startswith("["):
        return None if cell is None else cell.split(separator)
    try:
        return list(_flat(json.loads(cell)))
    except json.JSONDecodeError:
        return cell.split(separator)


def _read_attributes(cell: str | list[Any] | None) -> list[dict[str, str]] | None:
    """Attributes of one cell, text or a list of objects; None when it cannot be understood."""
    if cell is None:
        return []
    try:
        found = cell if isinstance(cell, list) else _read_text(cell)
        pairs = found.items() if isinstance(found, dict) else [_pair(one) for one in found]
        return [
            {"name": str(name).strip(), "value": str(part).strip()}
            for name, value in pairs
            for part in (value if isinstance(value, list) else [value])
            if part is not None and str(part).strip()
        ]
    except (ValueError, KeyError, TypeError):
        return None


def _read_text(cell: str) -> Any:
    return json.loads(cell) if cell[0] in "{[" else _read_pairs(cell)


def _pair(one: dict[str, Any]) -> tuple[Any, Any]:
    return one["name"], one["value"]


def _read_pairs(cell: str) -> list[dict[str, str]]:
    """`name: value; name: value`; a part without a colon belongs to the value before it."""
    pairs: list[dict[str, str]] = []
    for part in cell.split(";"):
        name, colon, value = part.partition(":")
        if colon:
            pairs.append({"name": name, "value": value})
        elif part.strip() and not pairs:
            raise ValueError(cell)
        elif part.strip():
            pairs[-1]["value"] += f";{part}"
    return pairs
