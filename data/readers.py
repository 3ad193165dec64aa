"""Files of every format as one kind of table: source columns, and the number of each row.

Text formats are read as text: what a cell means is decided later, where a bad cell can put its
row aside instead of stopping the import.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from foretaste.data.errors import DataError, InputError

ROW = "__row"  # number of a row in its file: 1 for the first after the header
FAULT = "__fault"  # why a row cannot be used, or null
_SURPLUS = "__surplus"  # cells beyond the header's columns
_NOT_A_RECORD = "not a JSON object"


@dataclass(frozen=True)
class Source:
    """One opened file.

    Attributes:
        path: where it is.
        columns: its column names, without RecBole's types.
        sequences: columns that RecBole marks as sequences of tokens.
        scan: its columns as they are, with `ROW` and `FAULT`.
    """

    path: Path
    columns: tuple[str, ...]
    sequences: frozenset[str]
    scan: pl.LazyFrame

    def read(self, columns: Sequence[str]) -> pl.DataFrame:
        """These columns of all rows that are not blank, with `ROW` and `FAULT`."""
        blank = pl.all_horizontal(pl.col(*self.columns).is_null()) & pl.col(FAULT).is_null()
        wanted = [*dict.fromkeys(columns), ROW, FAULT]
        with readable(self.path):
            frame = self.scan.filter(~blank).select(wanted).collect(engine="streaming")
        if frame.is_empty():
            raise DataError(f"{self.path.name} holds a header but no rows; rows were expected.")
        return frame


def open_table(path: Path) -> Source:
    """Open a CSV, TSV, JSONL, Parquet or RecBole file by its suffix (text also .gz).

    Raises:
        InputError: no such file, another format, an empty file, not UTF-8, or not readable.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}; a table of rows was expected there.")
    if path.stat().st_size == 0:
        raise DataError(f"{path.name} is empty; a table of rows was expected.")
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix not in _READERS or (suffix == ".parquet" and path.suffix == ".gz"):
        raise InputError(
            f"{path.name} has a format that is not read; expected one of {', '.join(_READERS)}."
        )
    with readable(path):
        source = _READERS[suffix](path)
    twice = [name for name in source.columns if "_duplicated_" in name]
    if twice:
        name = twice[0].rsplit("_duplicated_", 1)[0]
        raise DataError(f"{path.name} has two columns {name!r}; rename or remove one.")
    return source


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what polars says about an unreadable file into one sentence."""
    try:
        yield
    except (PolarsError, UnicodeDecodeError, OSError) as error:
        text = str(error).strip()
        if "utf-8" in text.lower() or "utf8" in text.lower():
            raise DataError(_not_utf8(path)) from error
        reason = (text.splitlines() or ["no reason given"])[0]
        raise DataError(f"{path.name} cannot be read as {path.suffix} ({reason}).") from error


def _not_utf8(path: Path) -> str:
    return (
        f"{path.name} is not UTF-8 text; convert it first, for example with "
        f"`iconv -f latin1 -t utf-8 {path.name}`."
    )


def _csv(path: Path, separator: str = ",") -> Source:
    header = pl.scan_csv(
        path,
        separator=separator,
        infer_schema=False,
        n_rows=0,
        truncate_ragged_lines=True,
        glob=False,
    )
    names = header.collect_schema().names()
    if len(names) == 1 and ";" in names[0] and separator == ",":
        return _csv(path, ";")  # as spreadsheets write where the comma parts decimals
    if any("\ufffd" in name or "\0" in name for name in names):
        raise DataError(_not_utf8(path))
    return Source(path, tuple(names), frozenset(), _scan_text(path, names, separator, '"'))


def _tsv(path: Path) -> Source:
    return _csv(path, "\t")


def _recbole(path: Path) -> Source:
    """RecBole's atomic files: tabs, no quotes, and a header of `name:type`."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        cells = file.readline().rstrip("\r\n").split("\t")
    typed = [cell.rpartition(":") for cell in cells]
    known = ("token", "token_seq", "float", "float_seq")
    if any(kind not in known or not name for name, _, kind in typed):
        raise DataError(
            f"{path.name} should begin with a header of name:type cells ({', '.join(known)}), "
            f"but begins with {cells[0]!r}."
        )
    names = [name for name, _, _ in typed]
    sequences = frozenset(name for name, _, kind in typed if kind.endswith("_seq"))
    return Source(path, tuple(names), sequences, _scan_text(path, names, "\t", None))


def _scan_text(path: Path, names: list[str], separator: str, quote: str | None) -> pl.LazyFrame:
    """Lines as text cells: too few cells become nulls, too many are a fault of the row.

    polars finds columns by the header's names, which RecBole (`quote` None) writes with a type;
    there the header is skipped and columns are found by their place.
    """
    scan = pl.scan_csv(
        path,
        has_header=quote is not None,
        skip_lines=0 if quote is not None else 1,
        separator=separator,
        quote_char=quote,
        schema=dict.fromkeys([*names, _SURPLUS], pl.String),
        extra_columns="ignore",
        missing_columns="insert",
        row_index_name=ROW,
        row_index_offset=1,
        glob=False,
    )
    surplus = pl.col(_SURPLUS).is_not_null()
    return scan.with_columns(
        pl.when(surplus).then(pl.lit("more cells than the header has columns")).alias(FAULT)
    )


def _parquet(path: Path) -> Source:
    scan = pl.scan_parquet(path, glob=False)
    names = scan.collect_schema().names()
    numbered = scan.with_row_index(ROW, offset=1).with_columns(
        pl.lit(None, dtype=pl.String).alias(FAULT)
    )
    return Source(path, tuple(names), frozenset(), numbered)


def _jsonl(path: Path) -> Source:
    try:
        frame = pl.scan_ndjson(path, infer_schema_length=None).collect().with_row_index(ROW, 1)
        frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias(FAULT))
    except PolarsError:
        frame = _jsonl_line_by_line(path)
    names = [name for name in frame.columns if name not in (ROW, FAULT)]
    return Source(path, tuple(names), frozenset(), frame.lazy())


def _jsonl_line_by_line(path: Path) -> pl.DataFrame:
    """The slow way for a file with broken lines: the good ones are read, the others marked."""
    good, numbers, broken = io.BytesIO(), [], []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            is_record = isinstance(json.loads(line), dict) if line.strip() else None
        except (json.JSONDecodeError, UnicodeDecodeError):
            is_record = False
        if is_record:
            good.write(line + b"\n")
            numbers.append(number)
        elif is_record is False:
            broken.append(number)
    if not numbers:
        raise DataError(f"{path.name} should hold one JSON object a line, but no line is one.")
    good.seek(0)
    frame = pl.read_ndjson(good, infer_schema_length=None)
    count = pl.DataFrame({ROW: numbers + broken}, schema={ROW: pl.UInt32})
    reasons = [None] * len(numbers) + [_NOT_A_RECORD] * len(broken)
    fault = pl.DataFrame({FAULT: reasons}, schema={FAULT: pl.String})
    padded = pl.concat([frame, frame.clear(len(broken))])
    return pl.concat([padded, count, fault], how="horizontal").sort(ROW)


_READERS: dict[str, Callable[[Path], Source]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".parquet": _parquet,
    ".inter": _recbole,
    ".item": _recbole,
    ".user": _recbole,
    ".environment": _recbole,
}
SUFFIXES = tuple(_READERS)
