"""`foretaste finetune reward`: the judge distilled into one number."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foretaste.app.commands.finetune import ResumeOption
from foretaste.app.console import DatasetOption, JsonOption, emit, say


def reward(
    dataset: DatasetOption,
    preset: Annotated[str, typer.Option(help="cpu, gpu-qwen3, or smoke (seconds).")] = "cpu",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="reward.FIELD=VALUE", help="Change a setting of the preset."),
    ] = None,
    cases: Annotated[
        Path | None, typer.Option(help="Answers that a judge has judged (JSONL of `judge run`).")
    ] = None,
    verdicts: Annotated[
        Path | None, typer.Option(help="Its verdicts; without them tiers come from hindsight.")
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(help="Preferences of `finetune examples --from feedback`, instead of either."),
    ] = None,
    resume: ResumeOption = False,
    json_target: JsonOption = None,
) -> None:
    """A reward model: which of several answers to one context is better.

    Learns from tiers S > A > B, of a judge or in hindsight; docs/rl.md says how.
    """
    from foretaste.data.errors import InputError
    from foretaste.finetune.reward.config import load_config
    from foretaste.finetune.reward.train import train

    if (cases is None) != (verdicts is None):
        raise InputError("--cases and --verdicts belong together; give both or neither.")
    if groups is not None and cases is not None:
        raise InputError("--groups stands instead of --cases and --verdicts; give one of them.")
    given = (cases, verdicts) if cases is not None and verdicts is not None else None
    result = train(dataset, load_config(preset, changes or ()), resume, given, preferences=groups)
    say(f"Validation over {result['validation_groups']:,} groups of other people:")
    for name, value in result["validation"].items():
        say(f"  {name:<12} {value:.4f}")
    say(
        f"Best epoch {result['best_epoch']} of {result['epochs']}, {result['wall_s']:.0f} s, "
        f"{result['peak_mb']:,} MB, {result['bytes'] / 1e6:.1f} MB to ship."
    )
    emit(result, json_target)
