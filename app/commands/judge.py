"""`foretaste judge`: how good answers are, by rubric, in batches and in pairs."""

from __future__ import annotations

import typer

group = typer.Typer(help="Judge answers, and the judge itself.", no_args_is_help=True)


@group.callback()
def _group() -> None:
    """Judge answers by rubric, in batches and in pairs; measure the judge against people."""
