"""`foretaste finetune examples`: training rows from histories, or from feedback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from foretaste.app.console import DatasetOption, JsonOption, emit, say


def examples(
    dataset: DatasetOption,
    source: Annotated[
        Literal["histories", "feedback"],
        typer.Option(
            "--from",
            help="histories: rows of the agents' prompts. feedback: preferences for `finetune "
            "reward --groups`, from what a server showed and what became of it (docs/feedback.md).",
        ),
    ] = "histories",
    preset: Annotated[str, typer.Option(help="cpu, smoke or gpu-qwen3.")] = "cpu",
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="GROUP.FIELD=VALUE",
            help="Change a setting: examples.rows, examples.general, agents.tags, …; of feedback: "
            "feedback.position, love.days, …",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write (default: examples/NAME under the home).")
    ] = None,
    base: Annotated[
        str, typer.Option(help="Model whose own answers the general rows hold.")
    ] = "bundled:smollm2-135m-instruct",
    teacher: Annotated[
        str | None,
        typer.Option(help="Address of an OpenAI-compatible server whose model writes the answers."),
    ] = None,
    teacher_model: Annotated[
        str, typer.Option(help="The name that the teacher's server knows its model by.")
    ] = "",
    prices: Annotated[
        str | None,
        typer.Option(metavar="IN,OUT", help="Price of a million tokens read, and written."),
    ] = None,
    most: Annotated[
        float | None, typer.Option(help="Refuse a teacher that is expected to cost more.")
    ] = None,
    json_target: JsonOption = None,
) -> None:
    """Turn histories into rows of the agents' own prompts, answered in hindsight or by a teacher.

    Writes rows.parquet, rows.jsonl (TRL `messages`) and card.json; docs/finetuning.md.
    """
    if source == "feedback":
        _from_feedback(dataset, changes or [], out, json_target)
        return
    from foretaste.finetune.examples.config import load_preset
    from foretaste.finetune.examples.make import make
    from foretaste.finetune.examples.teacher import taught
    from foretaste.finetune.runs import confirmed

    chosen = load_preset(preset, changes or ())
    confirmed(f"{chosen.examples.rows:,} rows are to be made. Begin?")
    if teacher is None:
        card = make(dataset, chosen, out, base)
    else:
        card = taught(dataset, chosen, out, base, teacher, teacher_model, prices, most)
    said = ", ".join(f"{name} {number:,}" for name, number in card["counts"]["agent"].items())
    say(
        f"{card['rows']:,} rows ({said}) in {card['folder']}; rejected: {card['rejects'] or 'none'}."
    )
    emit(card, json_target)


def _from_feedback(
    dataset: str, changes: list[str], out: Path | None, json_target: str | None
) -> None:
    """Preferences from a server's log."""
    from foretaste.finetune.feedback.config import configured_feedback
    from foretaste.finetune.feedback.make import from_feedback

    card = from_feedback(dataset, *configured_feedback(changes), out)
    say(
        f"{card['groups']:,} groups of {card['people']:,} people (loved {card['answers']['S']:,}, "
        f"refused {card['answers']['B']:,}) in {card['folder']}."
    )
    if not card["by_chance"]:
        say("No place of this log was left to chance, so places count as alike (docs/feedback.md).")
    emit(card, json_target)
