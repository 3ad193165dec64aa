"""The curves of a training as pictures: what belongs together shares an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from foretaste.app.page import pieces
from foretaste.app.page.plots import on_the_page

#: Title of a picture → beginnings of the names that stand in it, the first that fits wins.
GROUPS: dict[str, tuple[str, ...]] = {
    "Reward and its parts": ("reward", "accuracy", "alignment", "diversity", "length"),
    "Gates: share of answers that pass": ("gate/", "zero_variance"),
    "Share of answers with a fault": ("invalid", "duplicates", "unreadable", "cut_off"),
    "Ranking on validation": ("n@", "r@", "hr@", "auc", "pairs"),
    "Loss": ("loss", "train", "col", "tag", "cate", "action", "wish", "kl", "generat", "reconstr"),
}
OTHERS = "Other figures"
SHOWN = 8  # lines of one picture; of more the first ones
_APART = ("reward_std",)  # begins like a part of the reward and is none
_STEPS = ("step", "epoch")
_HEIGHT = 230  # pixels of one picture


def grouped(rows: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Title of a picture → names of the numbers in it, in the order of `GROUPS`.

    >>> grouped([{"step": 1, "loss": 0.5, "gate/all": 0.2, "sink": [[0.1]]}])
    {'Gates: share of answers that pass': ['gate/all'], 'Loss': ['loss']}
    """
    names = [name for name in dict.fromkeys(key for row in rows for key in row)]
    found: dict[str, list[str]] = {title: [] for title in (*GROUPS, OTHERS)}
    for name in names:
        values = [row[name] for row in rows if row.get(name) is not None]
        if name in _STEPS or not values or not all(isinstance(v, (int, float)) for v in values):
            continue
        fits = (title for title, starts in GROUPS.items() if name.startswith(starts))
        title = OTHERS if name in _APART else next(fits, OTHERS)
        found[title].append(name)
    return {title: own[:SHOWN] for title, own in found.items() if own}


def curves(rows: Sequence[dict[str, Any]]) -> Any:
    """All numbers of a curve over its steps or epochs, as one plotly figure.

    Args:
        rows: of `curve.json`.
    """
    from plotly.subplots import make_subplots

    groups = grouped(rows)
    along = next((name for name in _STEPS if rows and name in rows[0]), None)
    rows = sorted(rows, key=lambda row: row.get(along, 0)) if along else rows
    steps = [row.get(along, place) if along else place for place, row in enumerate(rows)]
    figure = make_subplots(
        rows=max(len(groups), 1),
        cols=1,
        subplot_titles=list(groups),
        vertical_spacing=min(0.16, 0.5 / max(len(groups), 1)),
    )
    for line, names in enumerate(groups.values(), 1):
        legend = "legend" if line == 1 else f"legend{line}"
        for name in names:
            figure.add_scatter(
                x=steps,
                y=[row.get(name) for row in rows],
                mode="lines+markers",
                name=pieces.text(name, 40),
                legend=legend,
                row=line,
                col=1,
            )
        top = figure.layout["yaxis" if line == 1 else f"yaxis{line}"].domain[1]
        figure.update_layout({legend: {"y": top, "yanchor": "top", "x": 1.01, "xanchor": "left"}})
    figure.update_xaxes(title_text=along or "row", row=max(len(groups), 1), col=1)
    height = _HEIGHT * max(len(groups), 1) + 40
    return on_the_page(figure, height, 40, legends=False, showlegend=True)
