"""`foretaste finetune grpo`: constrained reinforcement of the experts."""

from __future__ import annotations

from typing import Annotated

import typer

from foretaste.app.commands.finetune import ResumeOption
from foretaste.app.console import DatasetOption, JsonOption, emit, say

AdapterOption = Annotated[
    str, typer.Option(help="The supervised adapter to start from: name, shipped name or folder.")
]


def grpo(
    dataset: DatasetOption,
    adapter: AdapterOption,
    out: Annotated[str, typer.Option(help="Name of the adapter that comes out.")],
    preset: Annotated[str, typer.Option(help="cpu, gpu-qwen3, or smoke (seconds).")] = "cpu",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="grpo.FIELD=VALUE", help="Change a setting of the preset."),
    ] = None,
    resume: ResumeOption = False,
    json_target: JsonOption = None,
) -> None:
    """GRPO with gates (CRS) or a weighted sum (--set grpo.combine=sum) of four rewards.

    Needs a reward model of the data set (`finetune reward`); docs/rl.md says how it works.
    """
    from foretaste.finetune.grpo.config import load_config
    from foretaste.finetune.grpo.train import train

    result = train(dataset, adapter, load_config(preset, changes or ()), out, resume)
    start, best = result["validation"]["start"], result["validation"]["best"]
    say(f"Validation on {result['validation_prompts']} prompts of other people, start → best:")
    for name in ("reward", "accuracy", "alignment", "diversity", "length", "gate/all", "invalid"):
        say(f"  {name:<10} {start[name]:.4f} → {best[name]:.4f}")
    test = result["test"]
    gain = test["accuracy_gain"]
    say(
        f"Test, {test['people']} people who trained nothing: accuracy {test['start']['accuracy']:.4f} → "
        f"{test['best']['accuracy']:.4f}, gain {gain['mean']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]."
    )
    say(
        f"Best step {result['best_step']} of {result['steps']} ({result['ended']}), "
        f"{result['wall_s']:.0f} s, {result['peak_mb']:,} MB; adapter {result['adapter']}."
    )
    emit(result, json_target)
