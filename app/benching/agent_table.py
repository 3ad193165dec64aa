"""The figures of `foretaste bench agents` for people, on standard error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

_WIDTH = 140  # characters, when nobody looks at a terminal
_QUALITY = ("duplicate_rate", "exclusive_recall", "tag_hr@30", "tag_validity", "r@10", "n@10")


def show(figures: Mapping[str, Any]) -> None:
    """Print quality, costs and pairs of a report of `agent_report.report`."""
    console = Console(stderr=True)
    if not console.is_terminal:
        console = Console(stderr=True, width=_WIDTH)
    console.print(_quality(figures))
    console.print(_costs(figures))
    what = (
        f"{figures['users']:,} of {figures['users_with_enough']:,} users with enough events, "
        f"{figures['items']:,} items, {figures['leaf_categories']} leaf categories; quality is that "
        f"of the {figures['answered_by']}. ± is half of the 95 % interval."
    )
    for line in [what, *(_line(name, pair) for name, pair in _pairs(figures))]:
        console.print(line, markup=False, highlight=False)


def _quality(figures: Mapping[str, Any]) -> Table:
    table = Table(title=f"{figures['dataset']}, {figures['cases']} cases", title_justify="left")
    table.add_column("mode", no_wrap=True)
    for name in _QUALITY:
        table.add_column(name, justify="right", no_wrap=True)
    for mode, own in figures["modes"].items():
        table.add_row(
            mode, *(_cell(own.get(name), own["intervals"].get(name)) for name in _QUALITY)
        )
    for name, own in figures["channels"].items():
        cells = [_cell(own[metric], own["intervals"][metric]) for metric in ("r@10", "n@10")]
        table.add_row(name, *[""] * (len(_QUALITY) - 2), *cells)
    return table


def _costs(figures: Mapping[str, Any]) -> Table:
    title = f"{figures['model']}, {figures['model_users']} users, {figures['at_once']} at once"
    table = Table(title=title, title_justify="left")
    columns = ("sent", "computed", "written", "sent, cache on", "computed, cache on", "cache hits")
    for name in ("mode", *columns, "fallbacks", "s a user"):
        table.add_column(name, justify="left" if name == "mode" else "right", no_wrap=True)
    for mode, own in figures["modes"].items():
        off, on = own["tokens_per_user"] or {}, own["tokens_per_user_cached"] or {}
        counts = [off.get("sent"), off.get("computed"), off.get("written")]
        counts += [on.get("sent"), on.get("computed")]
        cells = ["–" if count is None else f"{count:,.0f}" for count in counts]
        shares = [_cell(own["prefix_hit_rate"]), _cell(own["fallback_rate"])]
        seconds = own["seconds_per_user"]
        table.add_row(mode, *cells, *shares, "–" if seconds is None else f"{seconds:.1f}")
    return table


def _cell(value: float | None, ends: list[float] | None = None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f} ±{(ends[1] - ends[0]) / 2:.4f}" if ends else f"{value:.4f}"


def _pairs(figures: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    found = []
    for name, pair in figures["pairs"].items():
        for part, own in pair.items():
            if "delta" in own:
                found.append((f"{name} {part}", own))
            else:
                labels = f"page of {part} - {own['channel']}"
                found += [(f"{labels} {metric}", own[metric]) for metric in ("r@10", "n@10")]
    return found


def _line(name: str, pair: Mapping[str, Any]) -> str:
    if pair["delta"] is None or pair["low"] is None:
        return f"  {name:<52} –"
    share = "" if pair["relative"] is None else f"  {pair['relative']:+.1%}"
    return f"  {name:<52} {pair['delta']:+.4f} [{pair['low']:+.4f}, {pair['high']:+.4f}]{share}"
