"""The report of a run: Markdown and one HTML page, every figure with the step that made it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from foretaste.app.pipeline.figures import figures_of, shown
from foretaste.app.pipeline.lineage import lineage
from foretaste.app.pipeline.plan import Pipeline, Step
from foretaste.app.pipeline.records import Done, done_of
from foretaste.data.files import replacing, write_json

LINEAGE, MARKDOWN, PAGE = "lineage.json", "report.md", "report.html"
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #8888;padding:.3rem .6rem;"
    "text-align:left}td.n{text-align:right;font-variant-numeric:tabular-nums}"
    "code{overflow-wrap:anywhere}:root{color-scheme:light dark}"
)
_STEPS = ("step", "command", "took", "processor", "memory", "ended", "key")
_FIGURES = ("figure", "value", "step")


def write_report(pipeline: Pipeline) -> dict[str, str]:
    """Write report and lineage of all steps that are done.

    Returns:
        The paths of `report.md`, `report.html` and `lineage.json`.
    """
    folder = pipeline.folder
    write_json(folder / LINEAGE, lineage(pipeline))
    _write(folder / MARKDOWN, _markdown(pipeline))
    _write(folder / PAGE, _page(pipeline))
    names = {"report": MARKDOWN, "page": PAGE, "lineage": LINEAGE}
    return {key: str(folder / name) for key, name in names.items()}


def _write(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def _row(step: Step, done: Done | None) -> list[str]:
    """One step in the table of steps."""
    if done is None:
        return [step.name, f"foretaste {' '.join(step.command.line())}", "not done", *[""] * 4]
    spent = done.spent
    return [
        step.name,
        f"foretaste {' '.join(done.line)}",
        f"{spent.seconds:.1f} s",
        f"{spent.cpu_s:.1f} s",
        f"{spent.peak_mb:,.0f} MB",
        done.ended,
        done.key,
    ]


def _content(pipeline: Pipeline) -> tuple[list[list[str]], list[tuple[Step, list[list[str]]]]]:
    """The table of steps, and a table of figures for each that has some."""
    done = [(step, done_of(step, pipeline)) for step in pipeline.steps]
    steps = [_row(step, record) for step, record in done]
    tables = []
    for step, record in done:
        if record is None:
            continue
        rows = [[one.name, one.text, step.name] for one in shown(step, figures_of(step, pipeline))]
        if rows:
            tables.append((step, rows))
    return steps, tables


def _intro(pipeline: Pipeline) -> str:
    return (
        f"Written by `foretaste run {pipeline.path.name}`. "
        f"`foretaste run {pipeline.path.name} --why FIGURE` leads from a figure to the rows that made "
        f"it; {LINEAGE} holds the same for all of them. Times are of the attempt that came to the end."
    )


def _markdown(pipeline: Pipeline) -> str:
    steps, tables = _content(pipeline)
    lines = [f"# {pipeline.name}", "", _intro(pipeline), "", "## Steps", ""]
    lines += _table(_STEPS, [[row[0], f"`{row[1]}`", *row[2:]] for row in steps])
    for step, rows in tables:
        lines += ["", f"## {step.name}", "", *_table(_FIGURES, rows)]
    return "\n".join(lines) + "\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    told = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
        *(f"| {' | '.join(row)} |" for row in told),
    ]


def _page(pipeline: Pipeline) -> str:
    steps, tables = _content(pipeline)
    title = escape(pipeline.name)
    parts: list[str] = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title>",
        f"<style>{_STYLE}</style><h1>{title}</h1><p>{escape(_intro(pipeline))}</p><h2>Steps</h2>",
        _html_table(_STEPS, [[_cell(row, at) for at in range(len(row))] for row in steps]),
    ]
    for step, rows in tables:
        name = escape(step.name)
        cells = [
            [
                f"<td><code>{escape(one)}</code></td>",
                f"<td class='n'>{escape(value)}</td>",
                f"<td><a href='#step-{name}'>{name}</a></td>",
            ]
            for one, value, _ in rows
        ]
        parts.append(f"<h2>{name}</h2>{_html_table(_FIGURES, cells)}")
    return "\n".join(parts) + "</html>\n"


def _cell(row: list[str], at: int) -> str:
    text = escape(row[at])
    if at == 0:
        return f"<td id='step-{text}'>{text}</td>"
    return f"<td><code>{text}</code></td>" if at == 1 else f"<td>{text}</td>"


def _html_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def told(result: dict[str, Any]) -> list[str]:
    """What a run ends with, as lines for people."""
    lines = []
    for row in result["steps"]:
        time = f"{row['seconds']:.1f} s" if row["state"] == "done" else row["reason"]
        lines.append(f"{row['step']:<20} {row['state']:<9}{time}")
    return [*lines, f"Report: {result['report']}", f"Lineage: {result['lineage']}"]
