"""A source shaped into a table, each bad row marked with the first reason against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from foretaste.data.errors import InputError
from foretaste.data.mapping import EVENT_ALIASES, Chosen
from foretaste.data.readers import FAULT, ROW, Source
from foretaste.data.tables import COLUMNS, EVENTS, KEYS, KINDS, Table
from foretaste.data.times import UNIT_NAMES, Unit, detect_unit, parse_times
from foretaste.data.values import as_attributes, as_list, as_number, as_price, as_text

_DAY = 86_400  # seconds


@dataclass
class Checked:
    """One source after its checks.

    Attributes:
        good: the rows that are a valid table.
        bad: `ROW` and `FAULT` (reason) of the others.
        notes: how the source was understood, one sentence each.
    """

    good: pl.DataFrame
    bad: pl.DataFrame
    notes: list[str] = field(default_factory=list)


def check_items(source: Source, chosen: Chosen, separator: str) -> Checked:
    """Items: an id that occurs once; a price that cannot be read is left empty and counted."""
    raw = source.read([*chosen.columns.values(), *chosen.extras])
    cells = _Cells(raw, chosen)
    listed = cells.series("categories")
    tokens = chosen.columns.get("categories") in source.sequences
    price = cells.series("price")
    frame = pl.DataFrame(
        {
            "item_id": as_text(cells.series("item_id")),
            "title": as_text(cells.series("title")),
            "description": as_text(cells.series("description")),
            "categories": as_list(listed, separator, tokens),
            "attributes": as_attributes(raw, chosen.columns.get("attributes"), chosen.extras),
            "price": as_price(price),
            "image_url": as_text(cells.series("image_url")),
        }
    )
    lost = frame["price"].null_count() - as_text(price).null_count()
    notes = [f"{lost:,} prices could not be read and are left empty"] if lost > 0 else []
    reasons = [("item_id", "missing item_id"), ("attributes", "unreadable attributes")]
    return _part("items", frame, raw, _first([_missing(*one) for one in reasons]), notes)


def check_users(source: Source, chosen: Chosen) -> Checked:
    """Users: an id that occurs once, everything else is an attribute."""
    raw = source.read([*chosen.columns.values(), *chosen.extras])
    frame = pl.DataFrame(
        {
            "user_id": as_text(raw[chosen.columns["user_id"]]),
            "attributes": as_attributes(raw, chosen.columns.get("attributes"), chosen.extras),
        }
    )
    reasons = [("user_id", "missing user_id"), ("attributes", "unreadable attributes")]
    return _part("users", frame, raw, _first([_missing(*one) for one in reasons]), [])


def check_environment(source: Source, chosen: Chosen, unit: Unit | None) -> Checked:
    """Environment: a time span (a day when no end is given), a known kind, a text."""
    raw = source.read([*chosen.columns.values()])
    cells = _Cells(raw, chosen)
    starts, ends = cells.series("start"), cells.series("end")
    unit = unit or detect_unit(starts)
    start = parse_times(_plain(starts), unit)
    given = parse_times(_plain(ends), unit)
    unreadable = given.is_null() & as_text(ends).is_not_null()
    frame = pl.DataFrame(
        {
            "start": start,
            "end": given.zip_with(given.is_not_null() | unreadable, start + _DAY),
            "kind": as_text(cells.series("kind")).str.to_lowercase(),
            "text": as_text(cells.series("text")),
        }
    )
    faults = [
        _missing("start", "unparseable start"),
        _missing("end", "unparseable end"),
        _when(pl.col("end") < pl.col("start"), "end before start"),
        _when(~pl.col("kind").is_in(KINDS).fill_null(False), "unknown kind"),
        _missing("text", "missing text"),
    ]
    return _part("environment", frame, raw, _first(faults), [])


@dataclass(frozen=True)
class InteractionRules:
    """How interactions are read.

    Attributes:
        items: ids of the catalogue.
        default_event: the event where none is given (`rating` when there is a rating column).
        order_only: timestamps may be missing; then each user's rows count from 0.
        unit: of numeric times, or None to detect it.
        events: names of events in the source → ours.
        first_position: position of the first row.
    """

    items: pl.Series
    default_event: str = "view"
    order_only: bool = False
    unit: Unit | None = None
    events: dict[str, str] = field(default_factory=dict)
    first_position: int = 0


def check_interactions(source: Source, chosen: Chosen, rules: InteractionRules) -> Checked:
    """Interactions: a user, a time, a known event, an item of the catalogue or a search text.

    Two equal rows are legal: people do buy the same thing twice.
    """
    raw = source.read([*chosen.columns.values()])
    cells = _Cells(raw, chosen)
    time, time_notes = _times(cells, rules)
    event, event_notes = _events(cells, rules)
    position = as_number(cells.series("position", raw[ROW] - 1 + rules.first_position))
    numbers = {"value": cells.series("value"), "position": cells.series("position")}
    frame = pl.DataFrame(
        {
            "user_id": as_text(cells.series("user_id")),
            "item_id": as_text(cells.series("item_id")),
            "timestamp": time,
            "event": event,
            "value": as_number(numbers["value"]),
            "query": as_text(cells.series("query")),
            "position": position.cast(pl.Int64),
        }
    )
    if "timestamp" not in chosen.columns:
        order = pl.col("position").rank("ordinal").over("user_id").cast(pl.Int64) - 1
        frame = frame.with_columns(timestamp=order)
    unreadable = (frame["value"].is_null() & as_text(numbers["value"]).is_not_null()).alias("v")
    search = pl.col("event") == "search"
    faults = [
        _missing("user_id", "missing user_id"),
        _missing("timestamp", "unparseable timestamp"),
        _when(~pl.col("event").is_in(EVENTS), "unknown event"),
        _when(pl.lit(unreadable), "value is not a number"),
        _missing("position", "position is not a number"),
        _when(search & pl.col("item_id").is_null() & pl.col("query").is_null(), "missing query"),
        _when(~search & pl.col("item_id").is_null(), "missing item_id"),
        _when(~pl.col("item_id").is_in(rules.items.implode()), "item not in the catalogue"),
    ]
    ignored = [f"columns left out: {', '.join(chosen.extras)}"] if chosen.extras else []
    notes = [*time_notes, *event_notes, *ignored]
    return _part("interactions", frame, raw, _first(faults), notes)


def only_order(frame: pl.DataFrame) -> bool:
    """Whether the timestamps are positions: 0, 1, 2, … for (nearly) every user.

    A user in twenty may have gaps, which rows put aside would leave.
    """
    users = frame.group_by("user_id").agg(
        last=pl.col("timestamp").max(), rows=pl.len(), distinct=pl.col("timestamp").n_unique()
    )
    counted = (users["last"] == users["rows"] - 1) & (users["distinct"] == users["rows"])
    several = (users["rows"] > 1).any()
    return bool(several) and float(counted.mean() or 0) >= 0.95  # type: ignore[arg-type]


class _Cells:
    """The source columns of a table, by our names; a missing one is all nulls."""

    def __init__(self, raw: pl.DataFrame, chosen: Chosen) -> None:
        self.raw, self.chosen = raw, chosen

    def series(self, name: str, otherwise: pl.Series | None = None) -> pl.Series:
        theirs = self.chosen.columns.get(name)
        if theirs is not None:
            return self.raw[theirs]
        if otherwise is not None:
            return otherwise
        return pl.Series(name, [None], dtype=pl.String).new_from_index(0, self.raw.height)


def _times(cells: _Cells, rules: InteractionRules) -> tuple[pl.Series, list[str]]:
    if "timestamp" not in cells.chosen.columns:
        empty = cells.series("timestamp").cast(pl.Int64)
        return empty, ["no times: each user's rows are numbered in the order of the source"]
    values = _plain(cells.series("timestamp"))
    unit = rules.unit or detect_unit(values)
    note = f"times were read as {UNIT_NAMES[unit]} since 1970 (dates without a zone as UTC)"
    return parse_times(values, unit), [] if unit == "s" else [note]


def _events(cells: _Cells, rules: InteractionRules) -> tuple[pl.Series, list[str]]:
    if rules.default_event not in EVENTS:
        raise InputError(
            f"An event is one of {', '.join(EVENTS)}, not {rules.default_event!r}; "
            "choose another --default-event."
        )
    if "event" in cells.chosen.columns:
        said = as_text(cells.series("event")).cast(pl.Categorical)
        known = {**{name: name for name in EVENTS}, **EVENT_ALIASES, **rules.events}
        ours = {
            name: rules.events.get(name) or known.get(name.lower(), name)
            for name in said.drop_nulls().unique().cast(pl.String)
        }
        named = said.cast(pl.String).replace(ours) if ours else said.cast(pl.String)
        return named.fill_null(rules.default_event), []
    rated = cells.chosen.columns.get("value", "").lower() in ("rating", "overall", "stars")
    event = "rating" if rated else rules.default_event
    whole = pl.Series("event", [event]).new_from_index(0, cells.raw.height)
    return whole, [f"no event column: every row is a {event}"]


def _plain(values: pl.Series) -> pl.Series:
    """Times as they are when typed, otherwise as clean text."""
    return values if values.dtype.is_temporal() or values.dtype.is_numeric() else as_text(values)


def _when(condition: pl.Expr, reason: str) -> pl.Expr:
    return pl.when(condition).then(pl.lit(reason))


def _missing(column: str, reason: str) -> pl.Expr:
    return _when(pl.col(column).is_null(), reason)


def _first(faults: Sequence[pl.Expr]) -> pl.Expr:
    return pl.coalesce(pl.col(FAULT), *faults)


def _part(
    table: Table, frame: pl.DataFrame, raw: pl.DataFrame, fault: pl.Expr, notes: list[str]
) -> Checked:
    """Put the bad rows aside, then all but the first row of each id."""
    marked = frame.with_columns(raw[ROW], raw[FAULT]).with_columns(fault.alias(FAULT))
    bad = marked.filter(pl.col(FAULT).is_not_null()).select(ROW, FAULT)
    good = marked.filter(pl.col(FAULT).is_null()) if bad.height else marked
    key = KEYS.get(table)
    if key is not None:
        again = ~good[key].is_first_distinct()
        twice = good.filter(again).select(ROW, pl.lit(f"duplicate {key}").alias(FAULT))
        bad, good = pl.concat([bad, twice]), good.filter(~again)
    return Checked(good.select(list(COLUMNS[table])), bad.sort(ROW), notes)
