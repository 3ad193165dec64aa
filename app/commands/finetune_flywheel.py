"""`foretaste finetune flywheel`: judged samples make a reward model, which makes a better policy."""

from __future__ import annotations

from typing import Annotated

import typer

from foretaste.app.commands.finetune import ResumeOption
from foretaste.app.commands.finetune_grpo import AdapterOption
from foretaste.app.console import DatasetOption, JsonOption, emit, say


def flywheel(
    dataset: DatasetOption,
    adapter: AdapterOption,
    out: Annotated[str, typer.Option(help="Name of the adapter that comes out.")],
    rounds: Annotated[int, typer.Option(min=1, max=20, help="How often.")] = 1,
    preset: Annotated[
        str, typer.Option(help="Of both trainings: cpu, gpu-qwen3 or smoke.")
    ] = "cpu",
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="GROUP.FIELD=VALUE", help="Change a setting; groups: reward, grpo."
        ),
    ] = None,
    resume: ResumeOption = False,
    json_target: JsonOption = None,
) -> None:
    """Samples → tiers → reward model → GRPO → evaluation, kept only when better."""
    from foretaste.data.settings import groups_known
    from foretaste.finetune.flywheel import flywheel as turn
    from foretaste.finetune.grpo.config import load_config as grpo_config
    from foretaste.finetune.reward.config import load_config as reward_config

    given = changes or []
    groups_known(given, ("reward", "grpo"))
    settings = grpo_config(preset, [one for one in given if one.startswith("grpo.")])
    learning = reward_config(preset, [one for one in given if one.startswith("reward.")])
    result = turn(dataset, adapter, out, rounds, settings, learning, resume)
    for row in result["rounds"]:
        say(
            f"Round {row['round']}: accuracy {row['before']:.4f} → {row['after']:.4f} on "
            f"{row['people']} people, {'kept' if row['kept'] else 'not kept'}"
        )
    emit(result, json_target)
