"""An item as words: what embedders, BM25 and prompts read of the catalogue."""

from __future__ import annotations

import polars as pl

DESCRIPTION_CHARACTERS = 300  # the start of a description says what a thing is; the rest repeats


def item_texts(items: pl.DataFrame) -> list[str]:
    """One text an item, in row order: `title. category > path. brand. start of description`.

    What is missing is left out; an item without any text is its id. White space is made single,
    and a description is cut after the last whole word within `DESCRIPTION_CHARACTERS`.

    >>> from foretaste.data.tables import COLUMNS
    >>> row = {"item_id": "7", "title": "Red lipstick", "categories": ["Makeup", "Lips"],
    ...        "attributes": [{"name": "brand", "value": "OPI"}]}
    >>> item_texts(pl.DataFrame([row], schema=COLUMNS["items"]))
    ['Red lipstick. Makeup > Lips. OPI']
    """
    path = pl.col("categories").list.join(" > ")
    parts = [_clean(part) for part in (pl.col("title"), path, _brand(), _opening())]
    text = pl.concat_str(parts, separator=". ", ignore_nulls=True)
    text = pl.when(text != "").then(text)
    return _strings(items, text)


def item_titles(items: pl.DataFrame) -> list[str]:
    """One title an item for people, in row order; an item without a title is its id."""
    return _strings(items, _clean(pl.col("title")))


def _strings(items: pl.DataFrame, text: pl.Expr) -> list[str]:
    """The text of each item, or its id where there is none."""
    texts: list[str] = items.select(pl.coalesce(text, pl.col("item_id"))).to_series().to_list()
    return texts


def _brand() -> pl.Expr:
    """The first attribute named `brand` (or `Brand`)."""
    field = pl.element().struct.field
    values = field("value").filter(field("name").str.to_lowercase() == "brand")
    return pl.col("attributes").list.eval(values).list.first()


def _opening() -> pl.Expr:
    """The first whole words of the description."""
    text = pl.col("description").str.strip_chars()
    cut = text.str.slice(0, DESCRIPTION_CHARACTERS).str.replace(r"\s+\S*$", "")
    return pl.when(text.str.len_chars() > DESCRIPTION_CHARACTERS).then(cut + " …").otherwise(text)


def _clean(text: pl.Expr) -> pl.Expr:
    """Single spaces, no closing full stop, and null instead of nothing."""
    words = text.str.replace_all(r"\s+", " ").str.strip_chars(" ").str.strip_suffix(".")
    return pl.when(words != "").then(words)
