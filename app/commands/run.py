"""`foretaste run`: a whole pipeline in one command that can be stopped and goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foretaste.app.console import JsonOption, emit


def run(
    pipeline: Annotated[Path, typer.Argument(metavar="PIPELINE.toml", help="What to run.")],
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="STEP", help="Take what comes before as it is; run the rest again."
        ),
    ] = None,
    only: Annotated[
        str | None, typer.Option(metavar="STEP", help="Run this step alone, also when unchanged.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, why, and what it would take.")
    ] = False,
    figure: Annotated[
        str | None,
        typer.Option("--why", metavar="FIGURE", help="Lead from a figure to the rows behind it."),
    ] = None,
    json_target: JsonOption = None,
) -> None:
    """Run the steps of a pipeline that are due, in order; stopped or killed, it goes on.

    A step is skipped when its inputs, options and code are what they were; docs/pipeline.md.
    """
    from foretaste.app.pipeline.roads import explain, perform, preview

    if figure is not None:
        lines, result = explain(pipeline, figure)
    elif dry_run:
        lines, result = preview(pipeline, start, only)
    else:
        lines, result = perform(pipeline, start, only)
    if json_target != "-":
        print("\n".join(lines))
    emit(result, json_target)
