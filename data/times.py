"""Times as sources write them, as whole seconds since 1970.

Numbers are seconds, milliseconds, microseconds or nanoseconds; text is a number or an ISO date.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import polars as pl

from foretaste.data.errors import InputError

Unit = Literal["s", "ms", "us", "ns"]
UNIT_NAMES: dict[Unit, str] = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
}
_PER_SECOND: dict[Unit, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_LATEST = 1e11  # seconds; the year 5138: a typical number above it is in a finer unit
_ISO = r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2})?(?:[.,]\d+)?)?\s*(Z|z|[+-]\d{2}:?\d{2})?$"


def iso(seconds: int) -> str:
    """A time for people, in UTC; midnight is written as the date alone.

    >>> iso(1495152000), iso(1495152001)
    ('2017-05-19', '2017-05-19 00:00:01')
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    whole_day = seconds % 86_400 == 0
    return f"{moment:%Y-%m-%d}" if whole_day else f"{moment:%Y-%m-%d %H:%M:%S}"


def seconds_of(text: str) -> int:
    """Seconds since 1970 of one date or number as a caller wrote it.

    >>> seconds_of("2017-05-19"), seconds_of("1495152000")
    (1495152000, 1495152000)
    """
    found = parse_times(pl.Series([text]), "s")[0]
    if found is None:
        raise InputError(
            f"A date like 2017-05-19 or seconds since 1970 were expected, not {text!r}."
        )
    return int(found)


def detect_unit(values: pl.Series) -> Unit:
    """The unit in which the typical (median) number of a column is a time before the year 5138.

    Milliseconds are so recognised from March 1973 on; dates and empty columns count as seconds.

    >>> detect_unit(pl.Series(["1495152000", "x", "1495152001"]))
    's'
    >>> detect_unit(pl.Series([1495152000123, 1495152000124]))
    'ms'
    """
    if values.dtype.is_temporal():
        return "s"
    typical = values.cast(pl.Float64, strict=False).abs().median()
    size = float(typical) if isinstance(typical, int | float) else 0.0
    return next((unit for unit, each in _PER_SECOND.items() if size < _LATEST * each), "ns")


def parse_times(values: pl.Series, unit: Unit) -> pl.Series:
    """Int64 seconds, rounded down; null where a value is not a time from 1970 on.

    Args:
        values: numbers, dates, or text holding numbers or ISO dates (without a zone: UTC).
        unit: of the numbers.
    """
    if values.dtype in (pl.Time, pl.Duration):  # a time of day, a span: no moment
        return pl.Series(values.name, [None], dtype=pl.Int64).new_from_index(0, len(values))
    if values.dtype.is_temporal():
        return _in_range(values.cast(pl.Datetime("us")).dt.epoch("s"))
    numbers = values.cast(pl.Float64, strict=False)
    if numbers.null_count() > values.null_count() and values.dtype == pl.String:
        rest = numbers.is_null() & values.is_not_null()
        dates = values.set(~rest, None).to_frame("v").select(_iso_seconds(pl.col("v")))
        return _in_range(numbers / _PER_SECOND[unit]).zip_with(
            ~rest, _in_range(dates.to_series()).alias(values.name)
        )
    return _in_range(numbers / _PER_SECOND[unit])


def _in_range(seconds: pl.Series) -> pl.Series:
    """Whole seconds; null when not finite, before 1970 or after the year 5138."""
    good = (seconds >= 0) & (seconds < _LATEST)
    return seconds.set(~good.fill_null(False), None).floor().cast(pl.Int64)


def _iso_seconds(text: pl.Expr) -> pl.Expr:
    """Seconds of an ISO date, with or without time of day and zone; null when it is none."""
    parts = text.str.strip_chars().str.extract_groups(_ISO).struct
    whole = pl.concat_str(
        parts["1"],
        pl.lit("T"),
        parts["2"].fill_null("00:00"),
        parts["3"].fill_null(":00"),
        parts["4"].str.replace("(?i)z", "+00:00").fill_null("+00:00"),
    )
    return whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%z", strict=False, time_unit="us").dt.epoch("s")
