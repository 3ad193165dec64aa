"""`foretaste finetune sft`, `merge` and `export`: a model learns the agents' rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foretaste.app.console import JsonOption, emit, say

AdapterOption = Annotated[
    str, typer.Option(metavar="NAME|FOLDER", help="An adapter of the store, or its folder.")
]


def sft(
    rows: Annotated[
        list[Path],
        typer.Option(help="Folder or file of `finetune examples`; give several to mix them."),
    ],
    name: Annotated[str, typer.Option(help="Of the adapter that comes out.")],
    preset: Annotated[str, typer.Option(help="cpu, smoke or gpu-qwen3.")] = "cpu",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="sft.FIELD=VALUE", help="Change a setting of the preset."),
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="ADAPTER", help="Train this adapter further; else a new one."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the same command was stopped.")
    ] = False,
    json_target: JsonOption = None,
) -> None:
    """Supervised fine-tuning: a LoRA that writes what hindsight or a teacher wrote.

    docs/finetuning.md says what is learnt and what it costs.
    """
    from foretaste.finetune.sft.config import load_config
    from foretaste.finetune.sft.train import train

    told = [f"--rows {path.name}" for path in rows] + [f"--set {one}" for one in changes or ()]
    told += [f"--from {begin}"] if begin else []
    command = f"foretaste finetune sft --name {name} --preset {preset} {' '.join(told)}"
    result = train(rows, name, load_config(preset, changes or ()), resume, command, begin)
    before, after = result["validation"]["untrained"], result["best_loss"]
    say(
        f"Validation loss {before['loss']:.3f} untrained, {after:.3f} at step {result['best_step']} "
        f"of {result['steps']}; {result['wall_s']:.0f} s, {result['tokens_per_s']:.0f} tokens/s, "
        f"{result['peak_mb']:,} MB. Adapter: {result['folder']}"
    )
    emit(result, json_target)


def merge(
    adapter: AdapterOption,
    out: Annotated[Path, typer.Option(help="Folder of the whole model; must not exist yet.")],
    json_target: JsonOption = None,
) -> None:
    """Add an adapter into its model's weights: a whole model in safetensors."""
    from foretaste.finetune.sft.export import merge_adapter

    result = merge_adapter(adapter, out)
    say(f"{result['base']} with {adapter}: {result['bytes'] / 1e6:,.1f} MB in {out}.")
    emit(result, json_target)


def export(
    adapter: AdapterOption,
    out: Annotated[Path, typer.Option(help="Folder to copy the adapter to.")],
    figures: Annotated[
        list[Path] | None,
        typer.Option(help="A file of `evaluate intent --json` that the card shows; repeatable."),
    ] = None,
    json_target: JsonOption = None,
) -> None:
    """Copy a checked adapter as vLLM and peft read it (bfloat16, safetensors), with its card."""
    from foretaste.finetune.sft.export import export_to

    result = export_to(adapter, out, figures or ())
    say(f"{adapter}: {result['bytes'] / 1e6:,.1f} MB, sha256 {result['sha256'][:16]}…, in {out}.")
    emit(result, json_target)
