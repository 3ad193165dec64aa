"""`foretaste finetune`: making models from a data set."""

from __future__ import annotations

from typing import Annotated

import typer

from foretaste.app.console import DatasetOption, JsonOption, emit, say

group = typer.Typer(help="Train models on a data set.", no_args_is_help=True)

PresetOption = Annotated[str, typer.Option(help="cpu, or smoke (seconds, for a first look).")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="towers.FIELD=VALUE", help="Change a setting of the preset."),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on where the same command was stopped.")
]


@group.callback()
def before(
    ask: Annotated[
        bool, typer.Option("--ask", help="Say what it will take, and wait for y before it begins.")
    ] = False,
) -> None:
    """Train models on a data set."""
    if ask:
        from foretaste.finetune.runs import ask_first

        ask_first()


@group.command("towers")
def towers(
    dataset: DatasetOption,
    preset: PresetOption = "cpu",
    changes: SetOption = None,
    embedder: Annotated[
        str, typer.Option(help="Model behind the sentence vectors.")
    ] = "bundled:all-minilm-l6-v2",
    resume: ResumeOption = False,
    json_target: JsonOption = None,
) -> None:
    """Three towers: users, items and tags in one space, served beside the untrained rules.

    Validation chooses with towers that learn from the training part of the leave-one-out split; those
    that are served learn from everything. docs/towers.md says what is learnt.
    """
    from foretaste.finetune.towers.config import load_config
    from foretaste.finetune.towers.train import train

    result = train(dataset, load_config(preset, changes or ()), embedder, resume)
    say(f"Validation N@10 over all {result['items']:,} items, {result['cases']:,} people:")
    for name in ("towers_mix", "towers", result["rule"], "embedding_last"):
        say(f"  {name:<20} {result['validation'][name]:.4f}")
    say(
        f"Best epoch {result['best_epoch']} of {result['epochs']}, {result['wall_s']:.0f} s, "
        f"{result['peak_mb']:,} MB; weight beside the rule {result['weight']}, β {result['beta']}."
    )
    emit(result, json_target)
