"""Tab 1: recommend to a user or to a history, watch the agents work, give thumbs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import gradio as gr

from foretaste.agents.objects import Candidate, Request
from foretaste.app.api.service import Service
from foretaste.app.page import finding, pieces
from foretaste.app.page.asking import HISTORY, MODES, SEASONS, USER, Fields
from foretaste.app.page.desk import Desk, steps, stops
from foretaste.app.page.faults import shown
from foretaste.app.page.view import View, costs
from foretaste.app.page.whynot import why_not
from foretaste.data.dataset import Dataset
from foretaste.data.feedback import Feedback

WORK = "recommending"  # what Stop ends


@dataclass(frozen=True, eq=False)  # told apart as itself: the page remembers it by its hash
class Shown:
    """A finished page of one visitor."""

    dataset: str
    request: Request
    result: dict[str, Any]
    candidates: list[Candidate]


def tab(desk: Desk) -> None:
    """Build the tab inside the `gr.Blocks` that is open."""
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            dataset = gr.Dropdown(desk.names(), value=desk.names()[0], label="Data set")
            who, user, chosen = _people(desk, dataset)
            wish = gr.Textbox(label="A wish (optional)", max_length=500, lines=2)
            n = gr.Slider(1, 30, value=8, step=1, label="Items")
            day = _day()
            rules = _rules(desk, dataset)
            with gr.Row():
                go = gr.Button("Recommend", variant="primary", elem_id="recommend")
                stop = gr.Button("Stop", elem_id="stop")
        with gr.Column(scale=2, min_width=300):
            status = gr.HTML(pieces.note("Choose somebody and press Recommend."))
            agents = gr.HTML(elem_id="agents")
            page: gr.State = gr.State(None)
            _page(desk, page)
            with gr.Accordion("What it cost", open=False):
                bars = gr.HTML()
            _missing(desk, page)
    fields = [dataset, who, user, chosen, wish, n, *day, *rules]

    async def run(visitor: gr.Request, *values: Any) -> AsyncGenerator[tuple[Any, ...]]:
        async for update in recommended(desk, visitor.session_hash or "", Fields(*values)):
            yield update

    running = go.click(
        run,
        fields,
        [status, agents, page, bars],
        concurrency_limit=None,
        show_progress="hidden",
        api_name="recommend_page",
    )
    said = "Stopped; nothing works for you any more."
    stops(desk, WORK, stop, running, status, lambda: pieces.note(said))


async def recommended(desk: Desk, session: str, fields: Fields) -> AsyncGenerator[tuple[Any, ...]]:
    """Status, agents, page and cost of one run, again and again as it goes on.

    A value that has not changed is told as such, so that the page keeps what stands there.
    """
    view = View()
    yield pieces.note("Starting …"), "", None, ""
    try:
        request, service = fields.request(), await desk.service(fields.dataset)
        async with aclosing(steps(desk, session, WORK, service, request)) as events:
            async for node, made in events:
                if node == "result":
                    done = Shown(fields.dataset, request, dict(made), view.candidates)
                    view.page = []  # the cards stand for them
                    yield _summary(done), view.agents(), done, costs(made)
                else:
                    view.take(node, made)
                    yield view.status(), view.agents(), gr.skip(), gr.skip()
    except Exception as error:  # noqa: BLE001 (the page is where every fault of a run ends)
        yield shown(error), gr.skip(), gr.skip(), gr.skip()


def _people(desk: Desk, dataset: gr.Dropdown) -> tuple[gr.Radio, gr.Dropdown, gr.Dropdown]:
    first = finding.some_users(desk.first.live.tools.dataset)
    who = gr.Radio([USER, HISTORY], value=USER, label="For whom")
    with gr.Group(visible=True) as known:
        find_user = gr.Textbox(label="Find a user by id or taste", elem_id="find-user")
        user = gr.Dropdown(first, value=first[0][1] if first else None, label="User")
    with gr.Group(visible=False) as built:
        find_item = gr.Textbox(label="Find items to add", elem_id="find-item")
        found = gr.Dropdown([], label="Found items: choose one to add it", value=None)
        chosen = gr.Dropdown(
            [], multiselect=True, label="The history, oldest first", allow_custom_value=True
        )

    async def users(name: str, words: str) -> Any:
        choices = await finding.users(await desk.service(name), words)
        return gr.update(choices=choices, value=choices[0][1] if choices else None)

    async def items(name: str, words: str) -> Any:
        return gr.update(choices=await finding.items(await desk.service(name), words), value=None)

    async def add(name: str, item_id: str | None, own: list[str] | None) -> tuple[Any, Any]:
        if not item_id:
            return gr.skip(), gr.skip()
        whole = [*(own or ()), item_id]
        known = (await desk.service(name)).live.tools.dataset
        return None, gr.update(choices=[finding.item_choice(known, i) for i in whole], value=whole)

    private = {"api_visibility": "private", "show_progress": "hidden"}
    who.change(
        lambda choice: (gr.update(visible=choice == USER), gr.update(visible=choice == HISTORY)),
        who,
        [known, built],
        **private,
    )
    find_user.submit(users, [dataset, find_user], user, **private)
    dataset.change(users, [dataset, find_user], user, **private)
    find_item.submit(items, [dataset, find_item], found, **private)
    found.input(add, [dataset, found, chosen], [found, chosen], **private)
    return who, user, chosen


def _day() -> tuple[gr.Textbox, gr.Dropdown, gr.Textbox, gr.Textbox]:
    with gr.Accordion("The day (what the agents are told)", open=False):
        day = gr.Textbox(label="Date", placeholder="Friday 24 December 2027", max_length=60)
        season = gr.Dropdown(list(SEASONS), value="", label="Season")
        weather = gr.Textbox(label="Weather", placeholder="rain, 8 °C", max_length=120)
        trend = gr.Textbox(label="Trend", placeholder="everybody talks of …", max_length=120)
    return day, season, weather, trend


def _rules(desk: Desk, dataset: gr.Dropdown) -> tuple[Any, ...]:
    with gr.Accordion("Filters and the way to the tags", open=False):
        named = _named(desk.first.live.tools.dataset)
        with gr.Row():
            low, high = gr.Textbox(**named[2]), gr.Textbox(**named[3])
        ids = {"multiselect": True, "allow_custom_value": True}
        categories = gr.Dropdown(**named[0], multiselect=True)
        attributes = gr.Dropdown(**named[1], **ids)
        allow = gr.Dropdown([], label="Only these ids", **ids)
        deny = gr.Dropdown([], label="Never these ids", **ids)
        again = gr.Checkbox(False, label="Items of the history may come again")
        explain = gr.Checkbox(True, label="A sentence for each item")
        mode = gr.Radio(list(MODES), value=MODES[0], label="The way to the tags")

    async def others(name: str) -> Any:
        own = _named((await desk.service(name)).live.tools.dataset)
        return tuple(gr.update(**one) for one in own)

    dataset.change(
        others,
        dataset,
        [categories, attributes, low, high],
        api_visibility="private",
        show_progress="hidden",
    )
    return categories, attributes, low, high, allow, deny, again, explain, mode


def _named(dataset: Dataset) -> tuple[dict[str, Any], ...]:
    """What the menus of categories and attributes and both prices show for a catalogue."""
    categories, attributes = finding.categories(dataset), finding.attributes(dataset)
    span = finding.prices(dataset)
    told = f" (here {span[0]:,.2f} to {span[1]:,.2f})" if span else ""
    price: dict[str, Any] = {"value": "", "visible": span is not None, "max_length": 20}
    return (
        {"choices": categories, "value": [], "label": "Only these categories"},
        {
            "choices": attributes,
            "value": [],
            "label": "Only these attributes",
            "visible": bool(attributes),
        },
        {"label": f"Price from{told}", **price},
        {"label": "Price up to", **price},
    )


def _page(desk: Desk, page: gr.State) -> None:
    """The cards, drawn again for every finished page, each with its thumbs."""

    @gr.render(inputs=page, show_progress="hidden")  # type: ignore[untyped-decorator]
    def cards(done: Shown | None) -> None:
        if done is None:
            return
        if not done.result["recommendations"]:
            gr.HTML(pieces.note("Nothing is left to recommend: the filters are too narrow."))
        dataset = desk.loaded(done.dataset).live.tools.dataset
        for number, one in enumerate(done.result["recommendations"], 1):
            row = dataset.row_of[one["item_id"]]
            picture = pieces.cover(one["title"], dataset.items["image_url"][row])
            with gr.Column(elem_classes="ft-box"):
                gr.HTML(pieces.card(number, one, dataset.categories_of(row), picture))
                _thumbs(desk, done, one["item_id"], one["title"])


def _thumbs(desk: Desk, done: Shown, item_id: str, title: str) -> None:
    with gr.Row():
        reason = gr.Textbox(
            label=f"Why, about {title[:60]} (optional)",
            placeholder="Why? (optional)",
            show_label=False,
            container=False,
            max_length=1_000,
            scale=3,
            min_width=140,
        )
        up = gr.Button("Good", size="sm", min_width=70)
        down = gr.Button("Not for me", size="sm", min_width=90)
    said = gr.HTML()

    async def keep(thumb: str, why: str) -> str:
        given = Feedback.model_validate(
            {
                "request_id": done.result["request_id"],
                "item_id": item_id,
                "thumb": thumb,
                "user_id": done.request.user_id or "",
                "reason": why.strip() or None,
            }
        )
        try:
            await (await desk.service(done.dataset)).keep_feedback([given])
        except Exception as error:  # noqa: BLE001 (said in the page)
            return shown(error)
        return pieces.note(f"Kept: thumb {thumb}.")

    async def good(why: str) -> str:
        return await keep("up", why)

    async def bad(why: str) -> str:
        return await keep("down", why)

    private = {"api_visibility": "private", "show_progress": "hidden"}
    up.click(good, reason, said, **private)
    down.click(bad, reason, said, **private)


def _missing(desk: Desk, page: gr.State) -> None:
    """Why not X?"""
    with gr.Accordion("Why is something not here?", open=False):
        words = gr.Textbox(label="An item's id or words of its title", elem_id="why-not")
        answer = gr.HTML()

    async def tell(done: Shown | None, said: str) -> str:
        if done is None:
            return pieces.note("Press Recommend first.")
        try:
            service: Service = await desk.service(done.dataset)
            found = await finding.items(service, said.strip(), 1)
            if not found:
                return pieces.note("Nothing in the catalogue is called that.")
            dataset = service.live.tools.dataset
            sentence = why_not(dataset, done.request, done.result, done.candidates, found[0][1])
        except Exception as error:  # noqa: BLE001 (said in the page)
            return shown(error)
        return pieces.note(sentence)

    words.submit(tell, [page, words], answer, api_visibility="private")


def _summary(done: Shown) -> str:
    result = done.result
    tokens = result["tokens"].get("total", {"prompt": 0, "completion": 0})
    fallen = sum(row["fallbacks"] for row in result["fallbacks"].values())
    calls = sum(row["calls"] for row in result["fallbacks"].values())
    replaced = f"; {fallen} of {calls} answers were replaced by grounded ones" if calls else ""
    if not tokens["prompt"]:
        replaced = "; no language model was asked"
    line = (
        f"{len(result['recommendations'])} items in {result['timings_ms']['total'] / 1000:.1f} s, "
        f"{tokens['prompt']:,} tokens read, {tokens['completion']:,} written{replaced}."
    )
    return f'<p class="ft-note" role="status">{pieces.text(line)}</p>'
