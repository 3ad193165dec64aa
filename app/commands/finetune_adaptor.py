"""`foretaste finetune adaptor`: one vector in place of an item's words."""

from __future__ import annotations

from typing import Annotated

import typer

from foretaste.app.commands.finetune import PresetOption, ResumeOption
from foretaste.app.console import DatasetOption, JsonOption, emit, say


def adaptor(
    dataset: DatasetOption,
    preset: PresetOption = "cpu",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="adaptor.FIELD=VALUE", help="Change a setting."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Language model: bundled:NAME, a folder or a hub id.")
    ] = "bundled:smollm2-135m-instruct",
    adapter: Annotated[
        str | None, typer.Option(help="LoRA adapter that is active meanwhile, by name or folder.")
    ] = None,
    embedder: Annotated[
        str, typer.Option(help="Model behind the sentence vectors.")
    ] = "bundled:all-minilm-l6-v2",
    name: Annotated[
        str | None, typer.Option(help="Under which the engine finds it; the data set's.")
    ] = None,
    resume: ResumeOption = False,
    json_target: JsonOption = None,
) -> None:
    """The adaptor of hybrid prompts: an item as one vector. docs/hybrid.md tells more.

    Language model and sentence embedder stay as they are; `--set agents.entities=vectors` of
    `foretaste recommend` uses what comes out.
    """
    from foretaste.finetune.adaptor.config import load_config
    from foretaste.finetune.adaptor.train import train
    from foretaste.serving.shipped import adapter_folder

    result = train(
        dataset,
        load_config(preset, changes or ()),
        model=model,
        adapter=None if adapter is None else adapter_folder(adapter),
        embedder=embedder,
        export=name,
        resume=resume,
    )
    say("Validation on items and histories that training never saw:")
    say("            -log p of answers   right tokens   KL to the teacher")
    for form, found in result["validation"].items():
        say(
            f"  {form:<10}{found['questions']:>17.3f}{found['right']:>15.3f}"
            f"{found['alignment']:>20.3f}"
        )
    say(
        f"Best epoch {result['best_epoch']} of {result['epochs']}, {result['wall_s']:.0f} s, "
        f"{result['peak_mb']:,} MB; the engine finds it as {result['name']!r}."
    )
    emit(result, json_target)
