"""Whether the model's inside collapses while its figures still rise (KARMA, arXiv 2603.22779).

Attention sinks: the share of attention on the most attended position, by layer and head; entropy of
attention as a share of what is possible; effective dimension `(Σλ)² / Σλ²` of the covariance of h and of item
vectors; hubness: the share of places in people's first tens that the most shown hundredth of items takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foretaste.data.histories import Histories
from foretaste.serving.interest import Interest

PEOPLE = 256  # whose histories are read
EVENTS = 8  # newest events of each
SEED = 0
_TOP = 10
PICTURES = "diagnostics.html"
_TITLES = (
    "Attention on one position",
    "Entropy of attention",
    "Effective dimension",
    "N@10, hubness",
    "Length of h and of what it adds",
    "Parts of the loss",
)
_LINES = {  # column of the curve → row and column of its picture
    "hidden_dimension": (2, 1),
    "item_dimension": (2, 1),
    "n@10": (2, 2),
    "hubness": (2, 2),
    "hidden_norm": (3, 1),
    "added_norm": (3, 1),
    "action": (3, 2),
    "wish": (3, 2),
    "generation": (3, 2),
    "reconstruction": (3, 2),
}


def diagnose(model: Interest, histories: Histories) -> dict[str, Any]:
    """Figures of a sample of people with at least three events.

    Returns:
        `sink` and `entropy`: (layers, heads) as lists, and their means `sink_mean`, `entropy_mean`;
        `hidden_dimension`, `item_dimension`, `hidden_norm`, `added_norm` (of what h adds to a
        user's vectors), `hubness`. Empty when nobody has three events.
    """
    enough = np.flatnonzero(histories.lengths >= 3)
    some = np.random.default_rng(SEED).permutation(enough)[:PEOPLE]
    if not len(some):
        return {}
    length = int(min(EVENTS, histories.lengths[some].min()))
    rows = torch.tensor(
        np.stack([histories[int(one)][-length:] for one in some]), dtype=torch.int64
    )
    net = model.net
    with torch.inference_mode(), _attention_given(net.model):
        found = net.read(net.begun(model.catalogue["inputs"][rows]), output_attentions=True)
        hidden = net.norm(found.last_hidden_state[:, 1:].float())
        added = net.added(hidden[:, -1:])
    sinks, entropies = zip(
        *(sink_and_entropy(one.float()) for one in found.attentions), strict=True
    )
    shown = _first_tens(model, rows)
    return {
        "people": len(some),
        "sink": [one.tolist() for one in sinks],
        "entropy": [one.tolist() for one in entropies],
        "sink_mean": float(torch.stack(sinks).mean()),
        "entropy_mean": float(torch.stack(entropies).mean()),
        "hidden_dimension": effective_dimension(hidden[:, -1]),
        "item_dimension": effective_dimension(model.catalogue["items"]),
        "hidden_norm": float(hidden[:, -1].norm(dim=-1).mean()),
        "added_norm": float(added.norm(dim=-1).mean()),
        "hubness": hubness(shown, len(model.item_vectors)),
    }


def sink_and_entropy(attention: Any) -> tuple[Any, Any]:
    """(heads,) share of attention on each sequence's most attended position, and entropy.

    Args:
        attention: (b, heads, t, t), rows sum to 1 and look back only. The first row has no choice
            and is left out; entropy is divided by that of an even look at all positions so far.
    """
    rows = attention[:, :, 1:]  # (b, heads, t - 1, t)
    sink = rows.mean(dim=2).max(dim=-1).values.mean(dim=0)
    free = torch.log(torch.arange(2, rows.shape[-1] + 1, dtype=torch.float32))
    entropy = -(rows * rows.clamp(min=1e-12).log()).sum(dim=-1) / free
    return sink, entropy.mean(dim=(0, 2))


def effective_dimension(vectors: Any) -> float:
    """(Σλ)² / Σλ² of the covariance of (n, d) vectors; d when all directions are used alike."""
    centred = vectors.float() - vectors.float().mean(dim=0)
    covariance = centred.T @ centred / len(centred)
    total, squares = float(covariance.trace()), float((covariance**2).sum())
    return total**2 / squares if squares else 0.0


def hubness(shown: NDArray[np.int64], items: int) -> float:
    """Share of the shown places that the most shown hundredth of all items takes."""
    counts = np.sort(np.bincount(shown.ravel(), minlength=items))[::-1]
    return float(counts[: max(1, items // 100)].sum() / max(counts.sum(), 1))


def draw(figures: dict[str, Any], curve: Sequence[dict[str, Any]], folder: Path) -> None:
    """Pictures of the figures and of how they went, as one page `diagnostics.html`."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    if not figures:
        return
    page = make_subplots(rows=3, cols=2, subplot_titles=_TITLES)
    for column, name in enumerate(("sink", "entropy"), 1):
        heat = go.Heatmap(z=figures[name], zmin=0, zmax=1, colorscale="Viridis")
        page.add_trace(heat, row=1, col=column)
        page.update_xaxes(title_text="head", row=1, col=column)
        page.update_yaxes(title_text="layer", row=1, col=column)
    epochs = [row["epoch"] + 1 for row in curve]
    for name, (row_of, column) in _LINES.items():
        if any(name in row for row in curve):
            line = go.Scatter(x=epochs, y=[row.get(name) for row in curve], name=name)
            page.add_trace(line, row=row_of, col=column)
    page.update_layout(template="plotly_white", height=1100)
    page.write_html(folder / PICTURES, include_plotlyjs="directory")  # read without a network


@contextmanager
def _attention_given(model: Any) -> Iterator[None]:
    """While inside, the language model gives its attention back."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _first_tens(model: Interest, rows: Any) -> NDArray[np.int64]:
    """(n, 10) the items that the model alone puts first, histories not dropped."""
    scores = model.scores(Histories.from_lists(rows.tolist()))
    count = min(_TOP, scores.shape[1])
    return np.asarray(np.argpartition(-scores, count - 1, axis=1)[:, :count])
