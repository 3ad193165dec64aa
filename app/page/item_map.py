"""The map of the catalogue: items and a person's interest vectors on a plane, with the person's path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.reasoning import grounded, tastes
from foretaste.agents.retrieval.tools import Tools
from foretaste.app.page import pieces
from foretaste.app.page.plots import on_the_page
from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError
from foretaste.data.histories import Histories

TEXTS, TOWERS, NEXT = "what the texts say", "towers", "next interest"
POINTS = 3_000  # items of a map
COLOURED = 8  # categories with a colour of their own
PATH = 20  # newest events of the path
_NEAR = 3  # items that say what an interest vector is near to
_PALETTE = (  # eight colours that the colour-blind tell apart (Okabe and Ito 2008), and a grey
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b59f00", "#7a5195"),
    "#9ca3af",
)

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Space:
    """Where items and a person's interests have vectors.

    Attributes:
        items: (items, d).
        interests: (k, d) of the person; none without one.
        names: of the interests.
    """

    items: Vectors
    interests: Vectors
    names: tuple[str, ...]


def spaces(tools: Tools) -> list[str]:
    """Spaces that this data set has: its texts, and those of its trained models."""
    trained = {TOWERS: tools.towers, NEXT: tools.interest}
    return [TEXTS, *(name for name, model in trained.items() if model is not None)]


def space_of(tools: Tools, name: str, path: Sequence[int]) -> Space:
    """Item vectors, and the interest vectors of a person.

    In the space of texts an interest is the mean of the items of one side of the person's taste, as
    the grounded planner finds them; a trained model has interest vectors of its own.

    Args:
        tools: of the data set.
        name: of `spaces`.
        path: the person's item rows, oldest first; empty for nobody.

    Raises:
        InputError: the data set has no such space.
    """
    if name not in spaces(tools):
        raise InputError(f"{tools.dataset.name} has no map of {name!r}; train that model first.")
    if name == TEXTS:
        return _of_texts(tools, path)
    model: Any = tools.towers if name == TOWERS else tools.interest
    items = np.asarray(model.item_vectors, dtype=np.float32)
    made = np.zeros((0, items.shape[1]), dtype=np.float32)
    if path:
        made = model.user_vectors(Histories.from_lists([path]))[0]  # (codes, d)
    names = tuple(f"interest {number}" for number in range(1, len(made) + 1))
    return Space(items, made, names)


def _of_texts(tools: Tools, path: Sequence[int]) -> Space:
    terms, vectors = tools.lexicon.categories, tools.vectors
    rows = np.asarray(path, dtype=np.int32)
    groups = tastes.clusters(rows, vectors, terms, tools.config.personas) if path else []
    ids, titles = tools.dataset.item_ids, tools.dataset.titles
    names = [grounded.persona(one, tools.lexicon, ids, titles).name for one in groups]
    means = [vectors[list(one.rows)].mean(axis=0) for one in groups]
    made = np.array(means, dtype=np.float32).reshape(len(groups), vectors.shape[1])
    return Space(vectors, made, tuple(names))


def figure_of(tools: Tools, user_id: str, name: str = TEXTS) -> Any:
    """The map of at most `POINTS` items as a plotly figure.

    Args:
        tools: of the data set.
        user_id: whose interests and path are drawn; empty for nobody.
        name: of `spaces`.

    Raises:
        InputError: no such space.
    """
    import plotly.graph_objects as go

    dataset = tools.dataset
    path = [dataset.row_of[e["item_id"]] for e in dataset.events_of(user_id) if e["item_id"]]
    space = space_of(tools, name, path)
    draw = np.random.default_rng(0).permutation(len(dataset.item_ids))[:POINTS]
    rows = np.unique(np.concatenate([draw, np.array(path[-PATH:], dtype=np.int64)]))
    places, interests = plane(space.items[rows], space.interests)  # (n, 2), (k, 2)
    figure = go.Figure()
    for (category, own), colour in zip(_coloured(dataset, rows).items(), _PALETTE, strict=False):
        figure.add_scattergl(
            x=places[own, 0],
            y=places[own, 1],
            mode="markers",
            name=pieces.text(category, 30),
            marker={"size": 5, "opacity": 0.65, "color": colour},
            text=_titles(dataset, rows[own]),
            hoverinfo="text",
        )
    _draw_path(figure, dataset, path[-PATH:], dict(zip(rows.tolist(), places, strict=True)))
    _draw_interests(figure, dataset, space, interests)
    return on_the_page(figure, 560, 10, xaxis={"visible": False}, yaxis={"visible": False})


def plane(items: Vectors, others: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, 2) and (k, 2) places on the two main directions of the items' vectors."""
    some = np.asarray(items, dtype=np.float64)
    middle = some.mean(axis=0)
    _, directions = np.linalg.eigh((some - middle).T @ (some - middle))  # the largest last
    main = directions[:, -2:][:, ::-1]
    made: NDArray[np.float64] = (some - middle) @ main
    beside: NDArray[np.float64] = (np.asarray(others, dtype=np.float64) - middle) @ main
    return made, beside


def _draw_path(figure: Any, dataset: Dataset, path: list[int], at: dict[int, Any]) -> None:
    if not path:
        return
    line = np.array([at[row] for row in path])  # (events, 2)
    figure.add_scatter(
        x=line[:, 0],
        y=line[:, 1],
        mode="lines+markers",
        name="the path, oldest first",
        text=[f"{n}. {title}" for n, title in enumerate(_titles(dataset, path), 1)],
        hoverinfo="text",
        marker={"size": 7},
        line={"color": "#b91c1c", "width": 1.2},
        opacity=0.7,
    )


def _draw_interests(figure: Any, dataset: Dataset, space: Space, places: Any) -> None:
    if not len(space.interests):
        return
    fits = space.interests @ space.items.T  # (k, items)
    told = [
        f"{pieces.text(name, 60)}: near {', '.join(_titles(dataset, near))}"
        for name, near in zip(space.names, np.argsort(-fits, axis=1)[:, :_NEAR], strict=True)
    ]
    figure.add_scatter(
        x=places[:, 0],
        y=places[:, 1],
        mode="markers",
        name="interests",
        hovertext=told,
        hoverinfo="text",
        marker={
            "symbol": "diamond",
            "size": 14,
            "color": "#facc15",
            "line": {"color": "#111827", "width": 2},
        },
    )
    for name, (x, y) in zip(space.names, places.tolist(), strict=True):
        figure.add_annotation(
            x=x,
            y=y,
            text=pieces.text(name, 30),
            showarrow=False,
            yshift=18,
            font={"color": "#ffffff", "size": 12},
            bgcolor="#1f2937",
            borderpad=2,
            opacity=0.85,
        )


def _titles(dataset: Dataset, rows: Any) -> list[str]:
    return [pieces.text(dataset.titles[int(row)], 60) for row in rows]


def _coloured(dataset: Dataset, rows: Rows) -> dict[str, list[int]]:
    """Category → places of its items; the most common ones, and `others` at the end."""
    first = [(dataset.categories_of(row) or ["–"])[-1] for row in rows.tolist()]
    names, counts = np.unique(first, return_counts=True)
    common = names[np.argsort(-counts, kind="stable")][:COLOURED].tolist()
    found: dict[str, list[int]] = {name: [] for name in [*common, "others"]}
    for place, name in enumerate(first):
        found[name if name in found else "others"].append(place)
    return {name: own for name, own in found.items() if own}
