"""The pictures of a report: plotly figures that stay readable on a phone.

Every text of others goes through `clean` first, because plotly reads some markup in its labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

from foretaste.agents.wording.prompting import clean
from foretaste.judge.objects import MARKS, TIERS
from foretaste.judge.report.gathered import Report, Shown

# Told apart by people who do not see red and green apart (ColorBrewer RdBu and greys).
_COLOURS = {
    "negative": "#b2182b",
    "acceptable": "#bababa",
    "positive": "#2166ac",
    "B": "#b2182b",
    "A": "#bababa",
    "S": "#2166ac",
    "first": "#2166ac",
    "tie": "#bababa",
    "second": "#b2182b",
}
_INK, _GRID = "#222222", "#e4e4e4"
_ROW, _AROUND = 34, 92  # pixels of one bar, and of what stands around all of them
_LABEL = 24  # characters of a label
_WRITTEN = 0.06  # share of a bar from which there is room for its count


def tiers(runs: Sequence[Shown]) -> go.Figure:
    """How many cases of each run are S, A and B."""
    rows = [(one.name, one.figures["tiers"]) for one in runs]
    return _shares(rows, TIERS)


def dimensions(run: Shown) -> go.Figure:
    """The marks of each dimension of one run."""
    return _shares(list(run.figures["dimensions"].items()), MARKS)


def preferences(pairs: Sequence[Shown]) -> go.Figure:
    """How often the first answer, neither, and the second is better."""
    sides = ("first", "tie", "second")
    rows = [(one.name, {side: one.figures[side]["n"] for side in sides}) for one in pairs]
    return _shares(rows, sides)


def segments(run: Shown) -> go.Figure:
    """The mean score of each segment with its interval."""
    rows = [
        (f"{name}: {value}" if value else f"{name}: (none)", part["score"])
        for name, values in run.figures["segments"].items()
        for value, part in values.items()
        if part["score"]["mean"] is not None
    ]
    return _dots([("all", run.figures["score"]), *rows])


def people(one: Shown) -> go.Figure:
    """A judge beside trivial judges and beside people, by rank correlation and by agreement."""
    figures = one.figures
    rows = [(figures.get("judge", one.name), figures)]
    rows += list(figures["baselines"].items())
    if figures.get("human"):
        rows.append(("one person", figures["human"]))
    chart = go.Figure()
    for key, name, colour in (
        ("spearman", "Spearman", "#2166ac"),
        ("kappa_quadratic", "κ, quadratic", "#b2182b"),
    ):
        held = [(label, part[key]) for label, part in rows if part.get(key) is not None]
        chart.add_bar(
            y=[_label(label) for label, _ in held],
            x=[value for _, value in held],
            name=name,
            orientation="h",
            marker_color=colour,
            text=[f"{value:.2f}" for _, value in held],
        )
    chart.update_layout(barmode="group")
    return _laid_out(chart, 2 * len(rows), reverse=True)


def calibration(people_files: Sequence[Shown]) -> go.Figure:
    """What share of the answers was good where the judge gave them this chance."""
    chart = go.Figure()
    chart.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": _GRID, "dash": "dash"}, name="perfect"
    )
    for one in people_files:
        curve = one.figures["calibration"]["curve"]
        chart.add_scatter(
            x=[row["chance"] for row in curve],
            y=[row["share"] for row in curve],
            mode="lines+markers",
            name=_label(one.name),
            text=[f"{row['n']} answers" for row in curve],
        )
    chart.update_xaxes(title="chance of a good answer, as told", range=[0, 1])
    chart.update_yaxes(title="share of good answers", range=[0, 1])
    return _laid_out(chart, 8)


def agreement(report: Report) -> go.Figure:
    """Quadratic κ of the tiers of every two runs over the same cases."""
    names = list(dict.fromkeys(name for pair in report.between for name in pair))
    cells: list[list[float | None]] = [[None] * len(names) for _ in names]
    for (one, other), found in report.between.items():
        for a, b in ((one, other), (other, one)):
            cells[names.index(a)][names.index(b)] = found["kappa_quadratic"]
    labels = [_label(name) for name in names]
    chart = go.Figure(
        go.Heatmap(
            z=cells,
            x=labels,
            y=labels,
            zmin=-1,
            zmax=1,
            colorscale="RdBu",
            texttemplate="%{z:.2f}",
            hoverongaps=False,
            showscale=False,
        )
    )
    return _laid_out(chart, max(3, 2 * len(names)), reverse=True)


def costs(shown: Sequence[Shown]) -> go.Figure:
    """Tokens of each run: read, read from the cache, written."""
    chart = go.Figure()
    names = [_label(one.name) for one in shown]
    parts = {
        "read": [one.figures["cost"]["prompt"] - one.figures["cost"]["cached"] for one in shown],
        "from the cache": [one.figures["cost"]["cached"] for one in shown],
        "written": [one.figures["cost"]["completion"] for one in shown],
    }
    for (name, values), colour in zip(
        parts.items(), ("#2166ac", "#92c5de", "#f4a582"), strict=True
    ):
        chart.add_bar(y=names, x=values, name=name, orientation="h", marker_color=colour)
    chart.update_layout(barmode="stack")
    chart.update_xaxes(title="tokens")
    return _laid_out(chart, len(shown) + 1, reverse=True)


def _shares(rows: Sequence[tuple[str, Any]], names: Iterable[str]) -> go.Figure:
    """One bar a row, parted into shares, with the counts written in."""
    chart = go.Figure()
    labels = [_label(name) for name, _ in rows]
    totals = [max(1, sum(counts.values())) for _, counts in rows]
    for name in names:
        counts = [count[name] for _, count in rows]
        chart.add_bar(
            y=labels,
            x=[count / total for count, total in zip(counts, totals, strict=True)],
            name=name,
            orientation="h",
            marker_color=_COLOURS[name],
            text=[
                str(count) if count / total >= _WRITTEN else ""
                for count, total in zip(counts, totals, strict=True)
            ],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            constraintext="none",
        )
    chart.update_layout(barmode="stack")
    chart.update_xaxes(tickformat=".0%", tickvals=[0, 0.5, 1], range=[0, 1.02])
    return _laid_out(chart, len(rows), reverse=True)


def _dots(rows: Sequence[tuple[str, dict[str, Any]]]) -> go.Figure:
    """One dot a row with its interval."""
    means = [part["mean"] for _, part in rows]
    ends = [part["interval"] or [part["mean"]] * 2 for _, part in rows]
    chart = go.Figure(
        go.Scatter(
            x=means,
            y=[_label(name) for name, _ in rows],
            mode="markers",
            marker={"color": "#2166ac", "size": 10},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [high - mean for mean, (_, high) in zip(means, ends, strict=True)],
                "arrayminus": [mean - low for mean, (low, _) in zip(means, ends, strict=True)],
            },
        )
    )
    chart.update_xaxes(title="mean score, 95 % interval", range=[-0.02, 1.02])
    return _laid_out(chart, len(rows), reverse=True)


def _laid_out(chart: go.Figure, rows: int, *, reverse: bool = False) -> go.Figure:
    """Sizes, fonts and colours that all pictures share."""
    chart.update_layout(
        height=_AROUND + _ROW * rows,
        margin={"l": 8, "r": 12, "t": 36, "b": 8},
        font={"family": "system-ui, sans-serif", "size": 13, "color": _INK},
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        plot_bgcolor="white",
        paper_bgcolor="white",
        dragmode=False,
        bargap=0.25,
    )
    chart.update_xaxes(gridcolor=_GRID, zerolinecolor=_GRID, fixedrange=True, automargin=True)
    chart.update_yaxes(gridcolor=_GRID, fixedrange=True, automargin=True, ticksuffix=" ")
    if reverse:
        chart.update_yaxes(autorange="reversed")
    return chart


def _label(text: str) -> str:
    """A text of others as a short label."""
    return clean(str(text), _LABEL)
