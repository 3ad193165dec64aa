"""Tab 5: trainings and their curves; estimate one, start it, watch it, stop it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from foretaste.app.page import pieces
from foretaste.app.page.curves import curves
from foretaste.app.page.desk import Desk, each, stops
from foretaste.app.page.faults import shown
from foretaste.app.page.trainings import (
    PRESETS,
    RECIPES,
    Training,
    Wanted,
    listed,
    newest_curve,
)
from foretaste.data.errors import InputError
from foretaste.data.files import home, read_json
from foretaste.finetune.runs import CURVE, RESULT, SETTINGS
from foretaste.serving.shipped import adapter_list

_ASKS = "It waits for you: Start begins it, Stop leaves it."
WORK = "training"  # what Stop ends
Update = tuple[Any, Any, Any]  # what is said, the Start button, the curves


@dataclass
class _Bench:
    """The one training that may be under way on this server, and whose it is."""

    owner: str | None = None
    training: Training | None = None
    since: float = field(default_factory=time.time)


def tab(desk: Desk) -> None:
    """Build the tab inside the `gr.Blocks` that is open."""
    bench = _Bench()
    with gr.Row():
        with gr.Column(min_width=280):
            fields, buttons, said = _form(desk)
        with gr.Column(scale=2, min_width=300):
            gr.Markdown("## Runs")
            runs = gr.Dropdown([], value=None, label="Run", elem_id="runs")
            again = gr.Button("Look again", size="sm")
            plot = gr.Plot(label="Curves", visible=False, elem_id="curves")
            facts = gr.HTML(pieces.note("What is trained appears here, with its curves."))
            with gr.Accordion("Result and settings", open=False, visible=False) as details:
                result = gr.JSON(label="Result", visible=False)
                settings = gr.JSON(label="Settings", visible=False)
    estimate, start, stop = buttons

    async def run(visitor: gr.Request, *values: Any) -> AsyncGenerator[Update]:
        session = visitor.session_hash or ""
        made = _trained(bench, session, Wanted(*values))
        async with aclosing(each(desk, session, WORK, made)) as updates:
            async for update in updates:
                yield update

    def begin(visitor: gr.Request) -> Any:
        if bench.training is not None and bench.owner == (visitor.session_hash or ""):
            bench.training.go_on()
        return gr.update(interactive=False)

    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    running = estimate.click(run, fields, [said, start, plot], concurrency_limit=None, **private)
    start.click(begin, None, start, concurrency_limit=None, **private)
    stops(desk, WORK, stop, running, [said, start, fields[-1]], _stopped)
    looked = [plot, facts, details, result, settings]
    again.click(_newest, None, runs, **private)
    running.then(_newest, None, runs, **private)
    runs.change(looked_at, runs, looked, **private)
    gr.on(None, _newest, None, runs, **private)


def _form(desk: Desk) -> tuple[list[Any], tuple[gr.Button, gr.Button, gr.Button], gr.HTML]:
    gr.Markdown("## Start a training")
    dataset = gr.Dropdown(desk.names(), value=desk.names()[0], label="Data set")
    choices = [(told, name) for name, told in RECIPES.items()]
    recipe = gr.Dropdown(choices, value="towers", label="What to train")
    preset = gr.Radio(
        list(PRESETS), value=PRESETS[0], label="Preset (smoke: seconds, cpu: up to hours)"
    )
    out = gr.Textbox(label="Name of the adapter that comes out", visible=False, max_length=80)
    adapters = [str(row["name"]) for row in adapter_list() if row["base"]]
    adapter = gr.Dropdown(
        adapters, label="Adapter to begin with", visible=False, allow_custom_value=True
    )
    resume = gr.Checkbox(False, label="Go on where the same training was stopped")
    with gr.Row():
        estimate = gr.Button("Estimate", variant="primary", elem_id="train")
        start = gr.Button("Start", interactive=False, elem_id="begin-training")
        stop = gr.Button("Stop and save", elem_id="stop-training")
    said = gr.HTML(
        pieces.note("Estimate tells time, memory and disk first; nothing begins before Start.")
    )
    recipe.change(
        lambda name: (
            gr.update(visible=name in ("sft", "grpo")),
            gr.update(visible=name == "grpo"),
        ),
        recipe,
        [out, adapter],
        show_progress="hidden",
        api_visibility="private",
    )
    return [dataset, recipe, preset, out, adapter, resume], (estimate, start, stop), said


def _stopped() -> tuple[Any, Any, Any]:
    said = "Stopped; what it had learnt is saved, and the same training can go on."
    return pieces.note(said), gr.update(interactive=False), True


async def _trained(bench: _Bench, owner: str, wanted: Wanted) -> AsyncGenerator[Update]:
    """Estimate, wait for Start, train in a process of its own, and show what it says."""
    off, on = gr.update(interactive=False), gr.update(interactive=True)
    yield pieces.note("Finding out what it takes …"), off, gr.skip()
    try:
        if bench.owner is not None:
            raise InputError("Another training is under way here; wait for its end, or stop it.")
        bench.owner, bench.since = owner, time.time()
        try:
            bench.training = training = await Training.begun(wanted)
            try:
                async for _ in training.told():
                    asks = pieces.note(_ASKS) if training.asks else ""
                    yield (
                        _log(training.lines) + asks,
                        on if training.asks else off,
                        _now(bench, wanted),
                    )
            finally:
                await training.end()
            yield _log(training.lines) + _end(training), off, _now(bench, wanted)
        finally:
            bench.owner = bench.training = None
    except Exception as error:  # noqa: BLE001 (said in the page)
        yield shown(error), off, gr.skip()


def _now(bench: _Bench, wanted: Wanted) -> Any:
    """The curve so far of the training under way."""
    name = newest_curve(wanted.recipe, bench.since)
    rows = _json(home() / "runs" / name / CURVE) if name else None
    return gr.update(value=curves(rows), visible=True) if rows else gr.skip()


def _end(training: Training) -> str:
    code = training.process.returncode
    if code == 0:
        return pieces.note("Done; choose its run to see curves, result and settings.")
    if training.asks or code == 130:
        return pieces.note("It was not begun, or stopped and saved.")
    return pieces.fault(f"It ended with code {code}; its last words stand above.")


def _newest() -> Any:
    names = listed()
    return gr.update(choices=names, value=names[0] if names else None)


def looked_at(name: str | None) -> tuple[Any, Any, Any, Any, Any]:
    """Curves, the main facts, whether there is anything to read, result and settings of one run."""
    if name not in listed():
        hidden = gr.update(visible=False)
        return hidden, "", hidden, hidden, hidden
    folder = home() / "runs" / name
    rows, result, settings = (_json(folder / file) for file in (CURVE, RESULT, SETTINGS))
    drawn = gr.update(value=curves(rows), visible=True) if rows else gr.update(visible=False)
    said = [gr.update(value=one, visible=one is not None) for one in (result, settings)]
    return drawn, facts_of(rows or [], result), gr.update(visible=True), said[0], said[1]


def facts_of(rows: list[dict[str, Any]], result: dict[str, Any] | None) -> str:
    """How a run stands, its time and memory, and what its gates let pass."""
    state = "finished" if result is not None else "not finished: it can be gone on with"
    told = [("state", state), ("rows of its curve", str(len(rows)))]
    for key, name in (("wall_s", "seconds"), ("peak_mb", "memory at the peak, MB")):
        if result is not None and isinstance(result.get(key), (int, float)):
            told.append((name, f"{result[key]:,.0f}"))
    gates = dict.fromkeys(key for row in rows for key in row if key.startswith("gate/"))
    for gate in gates:
        passed = [row[gate] for row in rows if gate in row]
        named = gate.removeprefix("gate/")
        told.append((f"gate “{named}”, first → last", f"{passed[0]:.0%} → {passed[-1]:.0%} pass"))
    thresholds = (result or {}).get("thresholds")
    if isinstance(thresholds, dict):
        told += [(f"threshold of {name}", f"{value:.3f}") for name, value in thresholds.items()]
    return pieces.table((), ((pieces.text(name), pieces.text(value)) for name, value in told))


def _log(lines: list[str]) -> str:
    said = "<br>".join(pieces.text(one) for one in lines)
    return f'<pre class="ft-box" tabindex="0" aria-label="What the training says">{said}</pre>'


def _json(path: Path) -> Any:
    try:
        return read_json(path) if path.exists() else None
    except (OSError, json.JSONDecodeError):
        return None
