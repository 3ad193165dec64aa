"""The figures of `evaluate interest` for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

COLUMNS = ("r@5", "n@5", "r@10", "n@10", "r@50", "r@200")
PARTS = ("against_order", "head", "tail", "cold")
_WIDTH = 150  # characters, when nobody looks at a terminal


def show(report: Mapping[str, Any], to_stderr: bool = False) -> None:
    """Print a report of `judge.interest.run.run` as one table and one line a pair."""
    console = Console(stderr=to_stderr)
    if not console.is_terminal:
        console = Console(stderr=to_stderr, width=_WIDTH)
    title = (
        f"{report['dataset']}, {report['split']}, fitted on {report['fitted_on']}, "
        f"history {report['history']}, {report['cases']:,} cases"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("method", no_wrap=True)
    for name in (*COLUMNS, *(f"n@10 {part}" for part in PARTS)):
        table.add_column(name.replace("_", " "), justify="right")
    for name, figures in report["methods"].items():
        parts = {"against_order": figures["against_order"], **figures["segments"]}
        cells = [_cell(figures[column]) for column in COLUMNS]
        table.add_row(name, *cells, *(_cell(parts[part]["n@10"]) for part in PARTS))
    console.print(table, markup=False)
    for name, pair in report["pairs"].items():
        console.print(_line(name, pair), markup=False, highlight=False)
    for name, found in report["band"].items():
        told = ", ".join(f"{metric} {_band(found[metric])}" for metric in ("r@10", "n@10"))
        said = f"{name} over {found['models']} models: {told}"
        console.print(said, markup=False, highlight=False)
    console.print(report["protocol"], markup=False, highlight=False)


def _band(found: Mapping[str, float]) -> str:
    """The mean, its standard deviation, and the ends."""
    low, high = found["min"], found["max"]
    return f"{found['mean']:.4f} ± {found['std']:.4f} ({low:.4f} to {high:.4f})"


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _line(name: str, pair: Mapping[str, Any]) -> str:
    """Difference in N@10 with its interval, in total and against the catalogue's order."""
    against = pair["against_order"]["n@10"]
    return f"{name}: {_difference(pair)}; against order {_difference(against)}"


def _difference(found: Mapping[str, Any]) -> str:
    if found["delta"] is None or found["low"] is None:
        return "–"
    return f"{found['delta']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]"
