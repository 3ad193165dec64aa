"""How the page's plots look: no ground of their own, letters that can be read in light and dark."""

from __future__ import annotations

from typing import Any

_LINE, _LETTERS = "rgba(128, 128, 128, 0.3)", "#7f7f8a"  # seen on white and on black


def on_the_page(figure: Any, height: int, margin: int, legends: bool = True, **layout: Any) -> Any:
    """The plotly figure with the page's look.

    Args:
        figure: is changed in place.
        height: in pixels.
        margin: to the left and below, in pixels; 10 to the right, 30 above.
        legends: whether the legend stands in one line below; else where the figure has them.
        layout: what else `update_layout` is told.
    """
    if legends:
        layout["legend"] = {"orientation": "h"}
    figure.update_xaxes(gridcolor=_LINE, zerolinecolor=_LINE)
    figure.update_yaxes(gridcolor=_LINE, zerolinecolor=_LINE)
    return figure.update_layout(
        template="plotly_white",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": _LETTERS},
        margin={"l": margin, "r": 10, "t": 30, "b": margin},
        height=height,
        **layout,
    )
