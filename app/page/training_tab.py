"""Tab 5: trainings and their curves; start one, watch it, stop it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr

from foretaste.app.page import pieces
from foretaste.app.page.desk import Desk
from foretaste.app.page.faults import shown
from foretaste.app.page.plots import on_the_page
from foretaste.data.errors import InputError
from foretaste.data.files import home, read_json

RECIPES = ("towers", "interest", "adaptor", "sft", "reward", "grpo")
PRESETS = ("smoke", "cpu")
LINES = 14  # of a training's log that are shown
_STOP_S = 60.0  # for a training to save its state


def tab(desk: Desk) -> None:
    """Build the tab inside the `gr.Blocks` that is open."""
    with gr.Row():
        with gr.Column(min_width=280):
            gr.Markdown("### Start a training")
            dataset = gr.Dropdown(desk.names(), value=desk.names()[0], label="Data set")
            recipe = gr.Dropdown(list(RECIPES), value=RECIPES[0], label="What to train")
            preset = gr.Radio(
                list(PRESETS), value=PRESETS[0], label="Preset (smoke: seconds, cpu: up to hours)"
            )
            with gr.Row():
                go = gr.Button("Start", variant="primary", elem_id="train")
                stop = gr.Button("Stop and save", elem_id="stop-training")
            said = gr.HTML(
                pieces.note("It says first what it expects to take; stopped, it can go on later.")
            )
        with gr.Column(scale=2, min_width=300):
            gr.Markdown("### Runs")
            runs = gr.Dropdown(listed(), label="Run", elem_id="runs")
            again = gr.Button("Look again", size="sm")
            plot = gr.Plot(label="Curves", visible=False)
            with gr.Accordion("Result and settings", open=False, visible=False) as facts:
                result = gr.JSON(label="Result")
                settings = gr.JSON(label="Settings")
    running = go.click(
        started,
        [dataset, recipe, preset],
        said,
        concurrency_limit=1,
        show_progress="hidden",
        api_visibility="private",
    )
    stop.click(
        lambda: pieces.note("Stopped; what it had learnt is saved."),
        None,
        said,
        cancels=[running],
        api_visibility="private",
    )
    again.click(lambda: gr.update(choices=listed()), None, runs, api_visibility="private")
    runs.change(looked_at, runs, [plot, facts, result, settings], api_visibility="private")


def listed() -> list[str]:
    """Runs as `kind/name`, the newest first."""
    found = [path.parent for path in (home() / "runs").glob("*/*/settings.json")]
    found.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
    return [f"{folder.parent.name}/{folder.name}" for folder in found]


def looked_at(name: str | None) -> tuple[Any, Any, Any, Any]:
    """Curves, whether there is anything to read, result and settings of one run."""
    if name not in listed():
        return gr.update(visible=False), gr.update(visible=False), None, None
    folder = home() / "runs" / name
    parts = [_json(folder / file) for file in ("curve.json", "result.json", "settings.json")]
    drawn = gr.update(value=curves(parts[0] or []), visible=bool(parts[0]))
    return drawn, gr.update(visible=True), parts[1], parts[2]


def curves(rows: list[dict[str, Any]]) -> Any:
    """Every number of a curve over its rows, one line each, as a plotly figure."""
    import plotly.graph_objects as go

    figure = go.Figure()
    names = dict.fromkeys(key for row in rows for key in row)
    for name in names:
        values = [row.get(name) for row in rows]
        if all(value is None or isinstance(value, (int, float)) for value in values):
            figure.add_scatter(y=values, mode="lines+markers", name=pieces.text(name, 40))
    return on_the_page(figure, 360, 40, xaxis_title="row of the curve")


async def started(dataset: str, recipe: str, preset: str) -> AsyncGenerator[str]:
    """Train in a process of its own and show what it says; Stop lets it save and end."""
    try:
        if recipe not in RECIPES or preset not in PRESETS:
            raise InputError("Choose one of the listed trainings and presets.")
        process = await asyncio.create_subprocess_exec(
            *_command(dataset, recipe, preset),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=1_000_000,
        )
    except Exception as error:  # noqa: BLE001 (said in the page)
        yield shown(error)
        return
    try:
        async for html in _told(process):
            yield html
    finally:
        await _ended(process)


async def _told(process: asyncio.subprocess.Process) -> AsyncGenerator[str]:
    lines: list[str] = []
    if process.stderr is not None:
        async for raw in process.stderr:
            said = raw.decode(errors="replace").replace("\r", "\n").strip().splitlines()
            lines = [*lines, *said][-LINES:]
            yield _log(lines)
    code = await process.wait()
    last = "Done." if code == 0 else f"It ended with code {code}; its last words stand above."
    yield _log(lines) + pieces.note(last)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Ask a training that still runs to save and end."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        await asyncio.wait_for(process.wait(), _STOP_S)
    except TimeoutError:
        process.kill()


def _command(dataset: str, recipe: str, preset: str) -> list[str]:
    """The command line of `foretaste finetune`, in this interpreter."""
    run = "import sys; from foretaste.app.cli import main; sys.argv[0] = 'foretaste'; main()"
    options = ["finetune", recipe, "--dataset", dataset, "--preset", preset]
    return [sys.executable, "-P", "-c", run, *options]


def _log(lines: list[str]) -> str:
    return (
        f'<pre class="ft-box" tabindex="0">{"<br>".join(pieces.text(one) for one in lines)}</pre>'
    )


def _json(path: Path) -> Any:
    try:
        return read_json(path) if path.exists() else None
    except (OSError, json.JSONDecodeError):
        return None
