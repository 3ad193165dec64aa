"""The figures of `evaluate ranking` for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

COLUMNS = ("r@5", "n@5", "r@10", "n@10", "mrr", "coverage", "novelty", "diversity")
SHOWN_WITH_INTERVAL = ("r@10", "n@10")
_WIDTH = 160  # characters, when nobody looks at a terminal


def show(report: Mapping[str, Any], to_stderr: bool = False) -> None:
    """Print a report of `judge.ranking.run.run` as one table and one line a pair."""
    console = Console(stderr=to_stderr)
    if not console.is_terminal:
        console = Console(stderr=to_stderr, width=_WIDTH)
    best = report["best_untrained"]
    title = f"{report['dataset']}, {report['split']}"
    console.print(_table(title, report["methods"], best), markup=False)
    if "channels" in report:
        title = f"The graph without a model, {report['channels']['users']:,} of the users"
        console.print(_table(title, report["channels"]["methods"], best), markup=False)
    lines = [
        _what(report),
        f"Best untrained rule, by validation: {best}. Its N@10 minus that of",
        *(_pair_line(name.removeprefix(f"{best}-"), pair) for name, pair in _pairs(report)),
        report["protocol"],
        f"{report['wall_s']:.0f} s, {report['peak_mb']:,} MB",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False)


def _what(report: Mapping[str, Any]) -> str:
    against = report["segments"]["against_order"]
    return (
        f"{report['cases']:,} cases of {report['users']:,} users, {report['items']:,} items, "
        f"fitted on {report['fitted_on']}, history {report['history']}; "
        f"± half of the 95 % interval; against order: {against:,} cases."
    )


def _pairs(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return sorted(report["pairs"].items(), key=lambda pair: -(pair[1]["delta"] or 0))


def _table(title: str, methods: Mapping[str, Any], best: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("method", no_wrap=True)
    for column in (*COLUMNS, "against order", "s"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, figures in methods.items():
        cells = [_cell(figures, column) for column in COLUMNS]
        against = figures["against_order"]
        cells.append(_cell(against, "n@10"))
        style = "bold" if name == best else ""
        table.add_row(name, *cells, f"{figures['seconds']:.1f}", style=style)
    return table


def _cell(figures: Mapping[str, Any], column: str) -> str:
    """A figure, with half of its interval where that is what people compare."""
    value = figures[column]
    if value is None:
        return "–"
    if column not in SHOWN_WITH_INTERVAL:
        return f"{value:.4f}" if value < 1 else f"{value:.2f}"
    low, high = figures["intervals"][column]
    return f"{value:.4f} ±{(high - low) / 2:.4f}"


def _pair_line(other: str, pair: Mapping[str, Any]) -> str:
    if pair["low"] is None:
        return f"  {other:<24} –"
    return f"  {other:<24} {pair['delta']:+.4f} [{pair['low']:+.4f}, {pair['high']:+.4f}]"
