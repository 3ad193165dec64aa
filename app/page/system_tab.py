"""Tab 6: whether the machine will do, which models there are, and how the server is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import gradio as gr
from prometheus_client.parser import text_string_to_metric_families

from foretaste.app.checkup import all_checks
from foretaste.app.page import pieces
from foretaste.app.page.desk import Desk
from foretaste.app.page.faults import shown

REFRESH_S = 5.0
_PAGE = ("/assets", "/static", "/gradio_api", "/theme")
TOLD = ("requests", "fallbacks", "tokens", "feedback", "queue", "engine", "prefix_hit")


def tab(desk: Desk) -> None:
    """Build the tab inside the `gr.Blocks` that is open."""
    with gr.Row():
        with gr.Column(min_width=300):
            gr.Markdown("## This server")
            gr.HTML(lambda: state(desk), every=REFRESH_S)
            with gr.Accordion("Its counters", open=False):
                gr.HTML(lambda: counters(desk), every=REFRESH_S)
        with gr.Column(min_width=300):
            gr.Markdown("## Models and adapters")
            models = gr.HTML()
            gr.Markdown("## Doctor")
            look = gr.Button("Look at this machine", elem_id="doctor")
            findings = gr.HTML(pieces.note("The last check imports vLLM and takes a while."))
    look.click(doctor, None, findings, api_visibility="private", show_progress="hidden")
    gr.on(None, stored, None, models, api_visibility="private", show_progress="hidden")


def state(desk: Desk) -> str:
    """Engine, data set and queue."""
    service = desk.first
    tools = service.live.tools
    model = service.engine.model
    engine = model.name if model else "none: the agents run on their grounded fallbacks"
    rows = [
        ("engine", pieces.text(engine)),
        ("ready", "yes" if service.engine.ready else "no: it is being started again"),
        ("data set", pieces.text(f"{tools.dataset.name}, {len(tools.dataset.item_ids):,} items")),
        ("collaborative rule", pieces.text(tools.rule.name)),
        ("towers", "trained" if tools.towers else "not trained"),
        ("next-interest", "trained" if tools.interest else "not trained"),
        ("recommendations under way", f"{service.gate.active}, {service.gate.line} waiting"),
    ]
    return pieces.table((), rows)


def counters(desk: Desk) -> str:
    """The metrics that people ask about."""
    rows = []
    for family in text_string_to_metric_families(desk.first.metrics.text().decode()):
        if not any(f"foretaste_{name}" in family.name for name in TOLD):
            continue
        for sample in family.samples:
            own = sample.labels.get("route", "")  # the page's own traffic tells nobody anything
            if "_bucket" in sample.name or not sample.value or own.startswith(_PAGE):
                continue
            labels = ", ".join(str(value) for value in sample.labels.values())
            name = sample.name.removeprefix("foretaste_")
            rows.append((pieces.text(name), pieces.text(labels), f"{sample.value:,.6g}"))
    return pieces.table(("counter", "of", "value"), rows) if rows else pieces.note("Nothing yet.")


async def doctor() -> AsyncGenerator[str]:
    """What `foretaste doctor` finds, one finding after the other."""
    rows: list[tuple[str, str, str]] = []
    checks = all_checks()
    while (check := await asyncio.to_thread(next, checks, None)) is not None:
        detail = check.detail + (f" → {check.remedy}" if check.remedy else "")
        rows.append((pieces.text(check.name), "✓" if check.ok else "✗", pieces.text(detail)))
        yield pieces.table(("check", "holds", "found"), rows, words=True)


def stored() -> str:
    """Models and adapters, of the store and shipped ones, as a table."""
    from foretaste.serving.shipped import adapter_list
    from foretaste.serving.store import model_list

    try:
        found: list[dict[str, Any]] = model_list()
        adapters: list[dict[str, Any]] = adapter_list()
    except Exception as error:  # noqa: BLE001 (said in the page)
        return shown(error)
    rows = [
        (
            pieces.text(one["name"]),
            f"{one['bytes'] / 1e6:,.1f} MB" if one["fetched"] else "not fetched",
            pieces.text(one.get("purpose", "")),
        )
        for one in found
    ]
    rows += [
        (
            pieces.text(one["name"]),
            f"{one['bytes'] / 1e6:,.1f} MB",
            pieces.text(f"adapter of {one['base']}" + (", shipped" if one["shipped"] else "")),
        )
        for one in adapters
    ]
    return pieces.table(("model", "size", "for"), rows, words=True)
