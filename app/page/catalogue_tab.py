"""Tab 4: search the catalogue, look at an item's neighbours, and at the map of all items."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from foretaste.app.api.service import Service
from foretaste.app.page import finding, item_map, pieces
from foretaste.app.page.desk import Desk
from foretaste.app.page.faults import shown
from foretaste.data.errors import InputError
from foretaste.serving.index.base import Hits

BOTH, MEANING, WORDS = "both", "meaning", "words"
HEAD = ["item_id", "title", "categories", "score"]


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
        max_height=220,
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
    tools, allowed = service.live.tools, _offered(service)
    if way == WORDS:
        return _rows(service, service.live.index.search_text([words], n, allowed))
    vectors = tools.embedder.encode([words], keep=False)  # (1, d)
    if way == MEANING:
        return _rows(service, service.live.index.search(vectors, n, allowed))
    return _rows(service, service.live.index.search_both([words], vectors, n, allowed))


def _offered(service: Service) -> NDArray[np.bool_]:
    """(items,) bool, what was not taken out of the catalogue."""
    dataset = service.live.tools.dataset
    allowed = np.ones(len(dataset.item_ids), dtype=bool)
    allowed[dataset.withdrawn] = False
    return allowed


def _neighbours(desk: Desk) -> Any:
    async def neighbours(name: str, event: gr.SelectData) -> tuple[str, list[list[str]]]:
        try:
            service = await desk.service(name)
            item_id = str(event.row_value[0])
            row = service.live.tools.dataset.rows([item_id])[0]
            vector = service.live.tools.vectors[row][None]  # (1, d)
            hits = await asyncio.to_thread(
                service.live.index.search, vector, finding.SHOWN + 1, _offered(service)
            )
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
                "Each point is an item, placed by the two main directions of its vector. With a "
                "user: diamonds are what they are interested in, a line joins what they chose."
            )
        )
        with gr.Row():
            user = gr.Textbox(label="A user's id (optional)", elem_id="map-user")
            own = item_map.spaces(desk.first.live.tools)
            space = gr.Dropdown(own, value=own[0], label="Vectors of", elem_id="map-space")
        draw = gr.Button("Draw the map", elem_id="draw-map")
        said, plot = gr.HTML(), gr.Plot(label="Items", visible=False, elem_id="map")

    async def drawn(name: str, user_id: str, way: str) -> tuple[str, Any]:
        try:
            tools = (await desk.service(name)).live.tools
            if user_id.strip() and not tools.dataset.knows(user_id.strip()):
                raise InputError(f"There is no user {user_id.strip()!r} here.")
            figure = await asyncio.to_thread(item_map.figure_of, tools, user_id.strip(), way)
        except Exception as error:  # noqa: BLE001 (said in the page)
            return shown(error), gr.update(visible=False)
        return "", gr.update(value=figure, visible=True)

    async def others(name: str) -> Any:
        found = item_map.spaces((await desk.service(name)).live.tools)
        return gr.update(choices=found, value=found[0])

    fields = [dataset, user, space]
    draw.click(drawn, fields, [said, plot], api_visibility="private")
    user.submit(drawn, fields, [said, plot], api_visibility="private")
    dataset.change(others, dataset, space, api_visibility="private", show_progress="hidden")
