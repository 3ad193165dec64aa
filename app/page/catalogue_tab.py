"""Tab 4: search the catalogue, look at an item's neighbours, and at the map of all items."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from foretaste.app.api.service import Service
from foretaste.app.page import finding, pieces
from foretaste.app.page.desk import Desk
from foretaste.app.page.faults import shown
from foretaste.app.page.plots import on_the_page
from foretaste.data.errors import InputError
from foretaste.serving.index.base import Hits

BOTH, MEANING, WORDS = "both", "meaning", "words"
HEAD = ["item_id", "title", "categories", "score"]
POINTS = 3_000  # items of a map
COLOURED = 8  # categories with a colour of their own


def tab(desk: Desk) -> None:
    """Build the tab inside the `gr.Blocks` that is open."""
    with gr.Row():
        dataset = gr.Dropdown(desk.names(), value=desk.names()[0], label="Data set")
        words = gr.Textbox(label="Search the catalogue", elem_id="catalogue-search", scale=2)
        way = gr.Radio([BOTH, MEANING, WORDS], value=BOTH, label="Search by")
    said = gr.HTML(pieces.note("Enter searches; choose a row to see what is near it."))
    found = _table("Found")
    near = _table("Near the chosen item")
    found.select(_neighbours(desk), dataset, [said, near], api_visibility="private")
    words.submit(_search(desk), [dataset, words, way], [said, found], api_name="search_catalogue")
    _map(desk, dataset)


def _table(label: str) -> gr.Dataframe:
    return gr.Dataframe(
        headers=HEAD,
        datatype="str",
        label=label,
        interactive=False,
        wrap=True,
        column_widths=["15%", "45%", "28%", "12%"],
    )


def _search(desk: Desk) -> Any:
    async def search(name: str, words: str, way: str) -> tuple[str, list[list[str]]]:
        try:
            if not words.strip():
                raise InputError("Write what you look for.")
            service = await desk.service(name)
            rows = await asyncio.to_thread(searched, service, words, way)
        except Exception as error:  # noqa: BLE001 (said in the page)
            return shown(error), []
        return pieces.note(f"{len(rows)} items, the best first."), rows

    return search


def searched(service: Service, words: str, way: str, n: int = finding.SHOWN) -> list[list[str]]:
    """Rows of the table for a search by `both`, `meaning` or `words`."""
    tools = service.live.tools
    allowed = np.ones(len(tools.dataset.item_ids), dtype=bool)
    allowed[tools.dataset.withdrawn] = False
    if way == WORDS:
        return _rows(service, service.live.index.search_text([words], n, allowed))
    vectors = tools.embedder.encode([words], keep=False)  # (1, d)
    if way == MEANING:
        return _rows(service, service.live.index.search(vectors, n, allowed))
    return _rows(service, service.live.index.search_both([words], vectors, n, allowed))


def _neighbours(desk: Desk) -> Any:
    async def neighbours(name: str, event: gr.SelectData) -> tuple[str, list[list[str]]]:
        try:
            service = await desk.service(name)
            item_id = str(event.row_value[0])
            row = service.live.tools.dataset.rows([item_id])[0]
            vector = service.live.tools.vectors[row][None]  # (1, d)
            hits = await asyncio.to_thread(service.live.index.search, vector, finding.SHOWN + 1)
        except Exception as error:  # noqa: BLE001 (said in the page)
            return shown(error), []
        rows = [one for one in _rows(service, hits) if one[0] != item_id]
        title = service.live.tools.dataset.titles[row]
        return pieces.note(f"What is near {title}."), rows

    return neighbours


def _rows(service: Service, hits: Hits) -> list[list[str]]:
    dataset = service.live.tools.dataset
    pairs = zip(hits.rows[0].tolist(), hits.scores[0].tolist(), strict=True)
    return [
        [
            dataset.item_ids[row],
            dataset.titles[row],
            ", ".join(dataset.categories_of(row)),
            f"{score:.3f}",
        ]
        for row, score in pairs
        if row >= 0
    ]


def _map(desk: Desk, dataset: gr.Dropdown) -> None:
    with gr.Accordion("Map of the items", open=False):
        gr.HTML(
            pieces.note(
                "Each point is an item, placed by the two main directions of its vector; "
                "a line joins what a user chose, oldest first."
            )
        )
        user = gr.Textbox(label="A user's id (optional)", elem_id="map-user")
        draw = gr.Button("Draw the map")
        said, plot = gr.HTML(), gr.Plot(label="Items", visible=False)

    async def drawn(name: str, user_id: str) -> tuple[str, Any]:
        try:
            service = await desk.service(name)
            known = service.live.tools.dataset
            if user_id.strip() and not known.knows(user_id.strip()):
                raise InputError(f"There is no user {user_id.strip()!r} here.")
            figure = await asyncio.to_thread(figure_of, service, user_id.strip())
        except Exception as error:  # noqa: BLE001 (said in the page)
            return shown(error), gr.update(visible=False)
        return "", gr.update(value=figure, visible=True)

    draw.click(drawn, [dataset, user], [said, plot], api_visibility="private")


def figure_of(service: Service, user_id: str) -> Any:
    """The map of at most `POINTS` items as a plotly figure, with a user's path if one is named."""
    import plotly.graph_objects as go

    tools = service.live.tools
    dataset = tools.dataset
    path = [dataset.row_of[e["item_id"]] for e in dataset.events_of(user_id) if e["item_id"]]
    draw = np.random.default_rng(0).permutation(len(dataset.item_ids))[:POINTS]
    rows = np.unique(np.concatenate([draw, np.array(path, dtype=np.int64)]))
    places = plane(tools.vectors, rows)  # (n, 2)
    at = {int(row): place for place, row in enumerate(rows)}
    figure = go.Figure()
    for name, own in _coloured(service, rows).items():
        figure.add_scattergl(
            x=places[own, 0],
            y=places[own, 1],
            mode="markers",
            name=pieces.text(name, 30),
            marker={"size": 5, "opacity": 0.7},
            text=[pieces.text(dataset.titles[rows[i]], 60) for i in own],
            hoverinfo="text",
        )
    if path:
        line = places[[at[row] for row in path[-50:]]]
        figure.add_scatter(
            x=line[:, 0],
            y=line[:, 1],
            mode="lines+markers",
            name="the user's path",
            text=[pieces.text(dataset.titles[row], 60) for row in path[-50:]],
            hoverinfo="text",
            line={"color": "#b91c1c", "width": 2},
        )
    return on_the_page(figure, 520, 10, xaxis={"visible": False}, yaxis={"visible": False})


def plane(vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, 2) places of some items on the two main directions of their vectors."""
    some = np.asarray(vectors[rows], dtype=np.float64)
    some -= some.mean(axis=0)
    _, directions = np.linalg.eigh(some.T @ some)  # the largest last
    made: NDArray[np.float64] = some @ directions[:, -2:][:, ::-1]
    return made


def _coloured(service: Service, rows: NDArray[np.int64]) -> dict[str, list[int]]:
    """Category → places of its items; the most common ones, and `others`."""
    dataset = service.live.tools.dataset
    first = [(dataset.categories_of(row) or ["–"])[-1] for row in rows.tolist()]
    names, counts = np.unique(first, return_counts=True)
    common = set(names[np.argsort(-counts)][:COLOURED].tolist())
    found: dict[str, list[int]] = {}
    for place, name in enumerate(first):
        found.setdefault(name if name in common else "others", []).append(place)
    return found
