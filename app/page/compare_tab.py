"""Tab 2: two settings side by side, for one user or a sample, with figures and the judge's word."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import gradio as gr

from foretaste.app.page import comparing, pieces, sides
from foretaste.app.page.asking import MODES
from foretaste.app.page.comparing import Figures, Met
from foretaste.app.page.desk import Desk, each, stops
from foretaste.app.page.faults import shown
from foretaste.app.page.sides import GROUNDED, MODEL, TEXT, VECTORS, Setting
from foretaste.judge.objects import Preference

MOST = 50  # people of a sample
WORK = "comparing"  # what Stop ends
Update = tuple[Any, Any, Any]  # what is said, the figures, the lists
_SAYS = {"first": "the first", "second": "the second", "tie": "neither: a tie"}


def tab(desk: Desk) -> None:
    """Build the tab inside the `gr.Blocks` that is open."""
    answers = sides.answering(desk.first.engine.model is not None)
    with gr.Row():
        first = _side("First", answers, answers[0], MODES[0])
        second = _side("Second", answers, GROUNDED, MODES[0] if answers[0] == MODEL else MODES[1])
    with gr.Row():
        dataset = gr.Dropdown(desk.names(), value=desk.names()[0], label="Data set")
        user = gr.Textbox(label="A user's id (empty: a sample)", elem_id="compare-user")
        count = gr.Slider(1, MOST, value=5, step=1, label="People of the sample")
        judged = gr.Checkbox(False, label="Ask the judge, in both orders")
    with gr.Row():
        go = gr.Button("Compare", variant="primary", elem_id="compare")
        stop = gr.Button("Stop", elem_id="stop-comparing")
    said = gr.HTML(
        pieces.note(
            "Each person's newest item is kept out of the history: the pages should have it. Rules and "
            "models have learnt from it, on both sides alike: hold the sides against each other, and "
            "use foretaste evaluate for figures that stand alone."
        )
    )
    table, lists = gr.HTML(), gr.HTML()

    async def run(visitor: gr.Request, *values: Any) -> AsyncGenerator[Update]:
        pair = (Setting(*values[0:4]), Setting(*values[4:8]))
        made = _compared(desk, pair, *values[8:])
        async with aclosing(each(desk, visitor.session_hash or "", WORK, made)) as updates:
            async for update in updates:
                yield update

    running = go.click(
        run,
        [*first, *second, dataset, user, count, judged],
        [said, table, lists],
        concurrency_limit=4,
        show_progress="hidden",
        api_visibility="private",
    )
    stopped = "Stopped; nothing works for you any more."
    stops(desk, WORK, stop, running, said, lambda: pieces.note(stopped))


def _side(name: str, answers: list[str], chosen: str, mode: str) -> list[Any]:
    with gr.Column(min_width=280):
        gr.Markdown(f"## {name}")
        own = {"allow_custom_value": True}
        return [
            gr.Dropdown(
                answers, value=chosen, label=f"{name}: who answers (or NAME@http://…/v1)", **own
            ),
            gr.Radio(list(MODES), value=mode, label=f"{name}: the way to the tags"),
            gr.Dropdown(sides.adapters(), value=sides.OWN, label=f"{name}: adapter", **own),
            gr.Radio([TEXT, VECTORS], value=TEXT, label=f"{name}: items in prompts as"),
        ]


async def _compared(
    desk: Desk,
    pair: tuple[Setting, Setting],
    dataset: str,
    user: str | None,
    count: float,
    judged: bool,
) -> AsyncGenerator[Update]:
    met: list[Met] = []
    words: list[Preference] = []
    yield pieces.note("Starting …"), "", ""
    try:
        service = await desk.service(dataset)
        named = (user or "").strip()
        users = [named] if named else comparing.sampled(service, int(count))
        began = time.monotonic()
        async with aclosing(comparing.compared(service, pair, users)) as people:
            async for one in people:
                met.append(one)
                if judged:
                    words.append(await comparing.preferred(service, one))
                found = await asyncio.to_thread(comparing.figures, service, met, words)
                spent = time.monotonic() - began
                line = pieces.progress(len(met), len(users), spent, "people are compared")
                yield line + verdict(words), _table(found), _lists(service, met)
    except Exception as error:  # noqa: BLE001 (said in the page)
        yield shown(error), gr.skip(), gr.skip()


def verdict(words: list[Preference]) -> str:
    """What the judge said so far, in a sentence; nothing when it was not asked."""
    if not words:
        return ""
    counts = {name: sum(one.better == name for one in words) for name in _SAYS}
    unread = sum(one.better is None for one in words)
    parts = [f"{number} times {_SAYS[name]}" for name, number in counts.items() if number]
    parts += [f"{unread} times it could not be read"] if unread else []
    return pieces.note(f"The judge prefers {', '.join(parts)}.")


def _table(found: Figures) -> str:
    rows = [
        (
            pieces.text(name),
            f"{first:,.3f}",
            f"{second:,.3f}",
            f"{change:+,.3f}",
            f"[{span[0]:+,.3f}, {span[1]:+,.3f}]" if span else "–",
        )
        for name, (first, second, change, span) in found.items()
    ]
    return pieces.table(("figure", "first", "second", "second − first", "95 % interval"), rows)


def _lists(service: Any, met: list[Met]) -> str:
    """The two lists of the newest person, the kept-out item told."""
    one = met[-1]
    dataset = service.live.tools.dataset
    held = dataset.titles[dataset.row_of[one.held]]
    parts = []
    shared = set.intersection(*({r["item_id"] for r in x["recommendations"]} for x in one.results))
    for name, result in zip(("First", "Second"), one.results, strict=True):
        items = pieces.numbered(
            f"<li>{pieces.text(row['title'], 120)}{'' if row['item_id'] in shared else ' ·'}</li>"
            for row in result["recommendations"]
        )
        personas = pieces.chips(persona["name"] for persona in result["personas"])
        head = f"{name}: user {one.user_id}"
        parts.append(pieces.box(head, f"kept out: {held}", personas + items))
    return pieces.boxes(parts) + pieces.note("A point marks what only one of the two lists has.")
