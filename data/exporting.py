"""Data sets written out again: CSV, Parquet, or RecBole's atomic files.

What is written can be imported again and gives the same tables. RecBole's format has no quoting,
so there line breaks and tabs inside texts become spaces, and a space inside a category becomes a
no-break space (a plain one would part two tokens); importing turns it back.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import polars as pl

from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError
from foretaste.data.files import replacing
from foretaste.data.tables import TABLES, Table

Format = Literal["recbole", "parquet", "csv"]

_ATOMIC: dict[Table, str] = {
    "items": "item",
    "interactions": "inter",
    "users": "user",
    "environment": "environment",
}
_RECBOLE_TYPES = {
    **dict.fromkeys(("title", "description", "query", "text", "attributes"), "token_seq"),
    **dict.fromkeys(("categories",), "token_seq"),
    **dict.fromkeys(("timestamp", "value", "rating", "position", "price", "start", "end"), "float"),
}


def export_dataset(dataset: Dataset, form: Format, out: Path) -> list[Path]:
    """Write every table that has rows into the folder `out`, and say which files these are.

    Args:
        dataset: what to write.
        form: `recbole` writes `<out>/<name>/<name>.inter .item .user`, as RecBole looks for
            them; the others `<out>/items.csv` and so on.
        out: folder, made when missing; files of the same name are replaced.
    """
    writers: dict[Format, Callable[[Dataset, Table, Path], Path]] = {
        "recbole": _recbole,
        "parquet": _parquet,
        "csv": _csv,
    }
    if out.exists() and not out.is_dir():
        raise InputError(f"A folder was expected at {out}, but there is a file; choose another.")
    filled = [table for table in TABLES if getattr(dataset, table).height]
    return [writers[form](dataset, table, out) for table in filled]


def _parquet(dataset: Dataset, table: Table, out: Path) -> Path:
    path = out / f"{table}.parquet"
    with replacing(path) as part:
        getattr(dataset, table).write_parquet(part)
    return path


def _csv(dataset: Dataset, table: Table, out: Path) -> Path:
    """Lists and attributes are JSON inside their cell."""
    frame: pl.DataFrame = getattr(dataset, table)
    path = out / f"{table}.csv"
    with replacing(path) as part:
        frame.with_columns(_json(frame[name]) for name in _nested(frame)).write_csv(part)
    return path


def _recbole(dataset: Dataset, table: Table, out: Path) -> Path:
    frame: pl.DataFrame = getattr(dataset, table)
    attributes = [_json(frame[name]) for name in _nested(frame) if name == "attributes"]
    tokens = pl.element().str.replace_all(r"\s+", "\u00a0")
    if "categories" in frame.columns:
        frame = frame.with_columns(pl.col("categories").list.eval(tokens).list.join(" "))
    frame = frame.with_columns(attributes).with_columns(
        pl.col(pl.String).str.replace_all(r"[\t\r\n]+", " ")
    )
    frame = frame.with_columns(pl.col(pl.Int64).cast(pl.String))
    if table == "interactions" and frame["event"].unique().to_list() == ["rating"]:
        frame = frame.rename({"value": "rating"})
    header = {name: f"{name}:{_RECBOLE_TYPES.get(name, 'token')}" for name in frame.columns}
    path = out / dataset.name / f"{dataset.name}.{_ATOMIC[table]}"
    with replacing(path) as part:
        frame.rename(header).write_csv(part, separator="\t", quote_style="never")
    return path


def _nested(frame: pl.DataFrame) -> list[str]:
    return [name for name, kind in frame.schema.items() if isinstance(kind, pl.List)]


def _json(values: pl.Series) -> pl.Series:
    """Each list as JSON; an empty one as nothing."""
    cells = [json.dumps(cell, ensure_ascii=False) if cell else None for cell in values.to_list()]
    return pl.Series(values.name, cells, dtype=pl.String)
