"""The three roads of `foretaste run`: run what is due, say what would run, explain a figure."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from foretaste.app.pipeline.forecast import as_json, look_ahead, say_and_check, whole
from foretaste.app.pipeline.lineage import said, why
from foretaste.app.pipeline.plan import read_pipeline
from foretaste.app.pipeline.report import told, write_report
from foretaste.app.pipeline.running import alone, run_steps


def perform(path: Path, start: str | None, only: str | None) -> tuple[list[str], dict[str, Any]]:
    """Run what is due of a pipeline, and write its report.

    Args:
        path: of the pipeline file.
        start: the first step to run, again if need be; what comes before is taken as it is.
        only: the one step to run.

    Returns:
        Lines for people, and name, folder, steps, estimate, seconds and the report's files.

    Raises:
        InputError: the file or the call is wrong; nothing was started.
        StepFailed: a step failed; what came before it is kept.
    """
    began = time.perf_counter()
    pipeline = read_pipeline(path)
    with alone(pipeline) as held:
        outlook = look_ahead(pipeline, start, only)
        estimate = whole(outlook)
        say_and_check(estimate)
        try:
            steps = run_steps(pipeline, outlook, start, only, held)
        finally:
            files = write_report(pipeline)
    result = {
        "name": pipeline.name,
        "folder": str(pipeline.folder),
        "steps": steps,
        "estimate": estimate,
        "seconds": round(time.perf_counter() - began, 1),
        **files,
    }
    return told(result), result


def preview(path: Path, start: str | None, only: str | None) -> tuple[list[str], dict[str, Any]]:
    """What a run would do now; nothing is started or written. Arguments as `perform`."""
    pipeline = read_pipeline(path)
    outlook = look_ahead(pipeline, start, only)
    lines = []
    for one in outlook:
        took = f"{one.expected.seconds:>8.0f} s" if one.expected else f"{'?':>10}"
        lines.append(f"{one.step:<20} {one.state:<8}{took} {one.source:<9} {one.reason}")
    estimate = whole(outlook)
    lines.append(
        f"{estimate['steps']} steps would run: {estimate['seconds']:.0f} s, "
        f"{estimate['memory_mb']:,} MB of memory, {estimate['disk_mb']:,.0f} MB of disk."
    )
    return lines, {"name": pipeline.name, "steps": as_json(outlook), "estimate": estimate}


def explain(path: Path, figure: str) -> tuple[list[str], dict[str, Any]]:
    """A figure, and the chain of steps that leads to the rows behind it; see `lineage.why`."""
    found = why(read_pipeline(path), figure)
    return said(found), found
