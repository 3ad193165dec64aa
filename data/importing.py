"""From files to a data set: all checked rows or, when too many are bad, nothing at all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import BaseModel, Field

from foretaste.data.checks import (
    Checked,
    InteractionRules,
    check_environment,
    check_interactions,
    check_items,
    check_users,
    only_order,
)
from foretaste.data.dataset import Dataset, DatasetInfo
from foretaste.data.errors import DataError, InputError
from foretaste.data.files import safe_name
from foretaste.data.mapping import Mapping, choose
from foretaste.data.progress import Meter, amount, meter
from foretaste.data.readers import FAULT, ROW, SUFFIXES, Source, open_table, readable
from foretaste.data.store import QUARANTINE_COLUMNS, load_dataset, save_dataset, stored
from foretaste.data.tables import KEYS, TABLES, Table, empty
from foretaste.data.times import Unit

_SHOWN = 3  # reasons named in a refusal


@dataclass(frozen=True)
class Files:
    """Where the tables are; `items` may be missing only when rows are added to a data set."""

    items: Path | None = None
    interactions: Path | None = None
    users: Path | None = None
    environment: Path | None = None

    def given(self) -> dict[Table, Path]:
        """Table → file, for the tables that have one."""
        paths = {table: getattr(self, table) for table in TABLES}
        return {table: path for table, path in paths.items() if path is not None}


class ImportOptions(BaseModel, frozen=True):
    """How an import is done.

    Attributes:
        mode: `replace` the data set of this name, or `add` to it (items and users that are
            there already are updated, interactions that are there already are skipped).
        max_bad_share: share of bad rows of one table above which nothing is changed.
        default_event: event of rows that have none.
        order_only: timestamps are positions, or missing; found out by itself when they count
            from 0 within each user.
        time_unit: of numeric times; None finds it out from their size.
        list_separator: between the parts of a list in one text cell.
        terms: under which terms the data may be used.
    """

    mode: Literal["replace", "add"] = "replace"
    max_bad_share: float = Field(default=0.05, ge=0, le=1)
    default_event: str = "view"
    order_only: bool = False
    time_unit: Unit | None = None
    list_separator: str = "|"
    terms: str = ""


class TableReport(BaseModel):
    """Rows of one table: `read` = `imported` + `quarantined` + `unchanged` (there before)."""

    read: int = 0
    imported: int = 0
    quarantined: int = 0
    unchanged: int = 0


class ImportReport(BaseModel):
    """What an import did: rows of each table, reasons of the quarantined, how it was read."""

    name: str
    fingerprint: str
    order_only: bool
    tables: dict[Table, TableReport]
    reasons: dict[str, int]
    notes: list[str]


def find_files(folder: Path) -> Files:
    """The files named `items`, `interactions`, `users` and `environment` in a folder.

    Raises:
        InputError: no such folder, a table in two formats, or no items.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder} is not a folder; one with items.* and interactions.* belongs there."
        )
    found: dict[str, Path] = {}
    for table in TABLES:
        paths = [
            path
            for suffix in SUFFIXES
            for path in folder.glob(f"{table}{suffix}*")
            if path.name.removesuffix(".gz") == f"{table}{suffix}"
        ]
        if len(paths) > 1:
            both = " and ".join(path.name for path in paths)
            raise InputError(f"{folder.name} holds {both}; keep one of them.")
        found.update((table, path) for path in paths)
    if "items" not in found:
        raise InputError(
            f"{folder.name} holds no items table; a file like items.csv was expected "
            f"({', '.join(SUFFIXES)})."
        )
    return Files(**found)


def import_dataset(
    name: str,
    files: Files,
    options: ImportOptions | None = None,
    mapping: Mapping | None = None,
) -> ImportReport:
    """Read, check and save a data set under `name`.

    A bad row goes to the quarantine with its file, row number and reason, the others are
    imported; above `max_bad_share` of bad rows in one table nothing is changed.

    Raises:
        InputError: a file, a column or an option is not what it must be.
        DataError: too many bad rows.
    """
    options, mapping = options or ImportOptions(), mapping or Mapping()
    if not options.list_separator:
        raise InputError("A list separator of at least one character was expected, like '|'.")
    given = files.given()
    old = _old(safe_name(name), given, options)
    sources = {table: open_table(path) for table, path in given.items()}
    with meter(f"Importing {name}") as progress:
        checked: dict[Table, Checked] = {}
        for table, source in sources.items():
            size = amount(source.path.stat().st_size, "B")
            progress.say(f"reading {source.path.name} ({size})")
            checked[table] = _check(table, source, checked, old, options, mapping)
            _refuse_too_many(source.path, checked[table], options.max_bad_share)
        return _save(name, sources, checked, old, options, progress)


def _old(name: str, given: dict[Table, Path], options: ImportOptions) -> Dataset | None:
    """The data set to add to, when there is one."""
    old = load_dataset(name) if options.mode == "add" and stored(name) else None
    if old is None and "items" not in given:
        raise InputError("Items are needed for a new data set; name their file with --items.")
    if old is not None and not given:
        raise InputError("Nothing to add was named; give --items, --interactions, --users, ….")
    return old


def _check(
    table: Table,
    source: Source,
    before: dict[Table, Checked],
    old: Dataset | None,
    options: ImportOptions,
    mapping: Mapping,
) -> Checked:
    """One source through the checks of its table; items come before interactions."""
    optional = ["timestamp"] if options.order_only else []
    if table == "interactions" and "query" in {name.lower() for name in source.columns}:
        optional.append("item_id")
    chosen = choose(table, source.columns, mapping, optional)
    if table == "items":
        return check_items(source, chosen, options.list_separator)
    if table == "users":
        return check_users(source, chosen)
    if table == "environment":
        return check_environment(source, chosen, options.time_unit)
    ids = [before["items"].good["item_id"]] if "items" in before else []
    ids += [old.items["item_id"]] if old else []
    last = old.interactions["position"].max() if old else None
    rules = InteractionRules(
        items=pl.concat(ids).unique(),
        default_event=options.default_event,
        order_only=options.order_only,
        unit=options.time_unit,
        events=mapping.events,
        first_position=int(last) + 1 if isinstance(last, int) else 0,
    )
    return check_interactions(source, chosen, rules)


def _refuse_too_many(path: Path, checked: Checked, most: float) -> None:
    bad, read = checked.bad.height, checked.bad.height + checked.good.height
    if bad <= most * read:
        return
    counts = checked.bad[FAULT].value_counts(sort=True).head(_SHOWN)
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in counts.iter_rows())
    raise DataError(
        f"{bad:,} of {read:,} rows of {path.name} are bad ({bad / read:.1%}, at most {most:.0%} "
        f"are allowed), the first is row {checked.bad[ROW][0]}: {reasons}; nothing was changed. "
        "Mend the file, or allow more with --max-bad-share."
    )


def _save(
    name: str,
    sources: dict[Table, Source],
    checked: dict[Table, Checked],
    old: Dataset | None,
    options: ImportOptions,
    progress: Meter,
) -> ImportReport:
    reports: dict[Table, TableReport] = {}
    tables: dict[Table, pl.DataFrame] = {}
    for table in TABLES:
        before = getattr(old, table) if old else empty(table)
        new = checked[table].good if table in checked else empty(table)
        bad = checked[table].bad.height if table in checked else 0
        tables[table], unchanged = _merge(table, before, new)
        imported = new.height - unchanged
        reports[table] = TableReport(
            read=new.height + bad, imported=imported, quarantined=bad, unchanged=unchanged
        )
    order_only = _order_only(checked, old, options)
    aside = _quarantine(sources, checked)
    progress.say("saving")
    info = DatasetInfo(
        name=name,
        order_only=order_only,
        source=", ".join(source.path.name for source in sources.values()),
        terms=options.terms or (old.info.terms if old else ""),
    )
    saved = save_dataset(
        Dataset(
            tables["items"], tables["interactions"], tables["users"], tables["environment"], info
        ),
        aside,
        built_on=old.info.fingerprint if old else None,
    )
    reasons = aside["reason"].value_counts(sort=True)
    return ImportReport(
        name=name,
        fingerprint=saved.info.fingerprint,
        order_only=order_only,
        tables=reports,
        reasons=dict(reasons.iter_rows()),
        notes=[note for part in checked.values() for note in part.notes],
    )


def _merge(table: Table, old: pl.DataFrame, new: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Old and new rows as one table, and how many of the new ones were there already."""
    if old.is_empty() or new.is_empty():
        return (new if old.is_empty() else old), 0
    key = KEYS.get(table)
    if key is None:
        same = [name for name in new.columns if name != "position"]
        fresh = new.join(old, on=same, how="anti", nulls_equal=True, maintain_order="left")
        return pl.concat([old, fresh]), new.height - fresh.height
    unchanged = len(set(_prints(old, key)) & set(_prints(new, key)))
    place = old.select(key).with_row_index("place")
    added = pl.int_range(pl.len(), dtype=pl.UInt32) + old.height
    rows = new.join(place, on=key, how="left", maintain_order="left")
    rows = rows.with_columns(pl.col("place").fill_null(added))
    kept = old.with_row_index("place").join(new, on=key, how="anti").select(rows.columns)
    return pl.concat([kept, rows]).sort("place").drop("place"), unchanged


def _prints(frame: pl.DataFrame, key: str) -> list[tuple[str, int]]:
    """Id and hash of each row, to tell equal rows within one run."""
    return list(zip(frame[key].to_list(), frame.hash_rows().to_list(), strict=True))


def _order_only(checked: dict[Table, Checked], old: Dataset | None, options: ImportOptions) -> bool:
    """Whether the times are positions; rows of both kinds cannot stand in one data set."""
    if "interactions" not in checked:
        return old.info.order_only if old else options.order_only
    now = options.order_only or only_order(checked["interactions"].good)
    if old is not None and old.interactions.height and old.info.order_only != now:
        kinds = ("positions", "times") if now else ("times", "positions")
        raise InputError(
            f"The new interactions carry {kinds[0]}, those of {old.name} {kinds[1]}; "
            "import both together with --mode replace."
        )
    return now


def _quarantine(sources: dict[Table, Source], checked: dict[Table, Checked]) -> pl.DataFrame:
    """Every bad row with its table, file, row number, reason and content as JSON."""
    parts = [pl.DataFrame(schema=QUARANTINE_COLUMNS)]
    for table, part in checked.items():
        if part.bad.is_empty():
            continue
        source = sources[table]
        with readable(source.path):
            rows = (
                source.scan.join(part.bad.lazy().select(ROW), on=ROW, how="semi")
                .select(ROW, *source.columns)
                .collect(engine="streaming")
            )
        cells = rows.drop(ROW).iter_rows(named=True)
        content = [json.dumps(row, ensure_ascii=False, default=str) for row in cells]
        rows = rows.select(ROW, pl.Series("content", content, dtype=pl.String))
        parts.append(
            part.bad.join(rows, on=ROW, how="left", maintain_order="left").select(
                table=pl.lit(table),
                file=pl.lit(source.path.name),
                row=pl.col(ROW).cast(pl.Int64),
                reason=FAULT,
                content="content",
            )
        )
    return pl.concat(parts)
