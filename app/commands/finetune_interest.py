"""`foretaste finetune interest`: next-interest embeddings from a data set."""

from __future__ import annotations

from typing import Annotated

import typer

from foretaste.app.commands.finetune import PresetOption, ResumeOption
from foretaste.app.console import DatasetOption, JsonOption, emit, say


def interest(
    dataset: DatasetOption,
    preset: PresetOption = "cpu",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="interest.FIELD=VALUE", help="Change a setting."),
    ] = None,
    embedder: Annotated[
        str, typer.Option(help="Model behind the sentence vectors.")
    ] = "bundled:all-minilm-l6-v2",
    resume: ResumeOption = False,
    json_target: JsonOption = None,
) -> None:
    """Next interest: a language model's first layers read items as vectors and say what comes next.

    Served as a channel and, with a small ranker beside the untrained rules, as the collaborative
    one; docs/interest.md says what is learnt.
    """
    from foretaste.finetune.interest.config import load_config
    from foretaste.finetune.interest.train import train

    result = train(dataset, load_config(preset, changes or ()), embedder, resume)
    if result["validation"]:
        say(f"Validation N@10 over all {result['items']:,} items:")
        for name, figure in result["validation"].items():
            say(f"  {name:<20} {figure:.4f}")
    say(
        f"Best epoch {result['best_epoch']} of {result['epochs']}, {result['wall_s']:.0f} s, "
        f"{result['peak_mb']:,} MB, {result['flops_fraction']:.0%} of a large matrix product's rate."
    )
    emit(result, json_target)
