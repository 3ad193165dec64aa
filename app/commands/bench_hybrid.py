"""`foretaste bench hybrid`: entities as one vector each against entities as text."""

from __future__ import annotations

from typing import Annotated

import typer

from foretaste.app.console import JsonOption, emit, numbers_of, say


def hybrid(
    dataset: Annotated[
        str, typer.Option(metavar="NAME", help="An imported data set with an adaptor.")
    ] = "amazon-beauty",
    users: Annotated[
        int, typer.Option(min=2, help="People with --least-events or more, drawn by --seed.")
    ] = 200,
    least_events: Annotated[
        int, typer.Option(min=2, help="Events that a person has, the next item among them.")
    ] = 20,
    timed: Annotated[int, typer.Option(min=1, help="Of these, whose planner is timed alone.")] = 20,
    questions: Annotated[
        int, typer.Option(min=2, help="Attribute questions about items, at most.")
    ] = 200,
    histories: Annotated[
        str, typer.Option(metavar="N,N", help="Lengths of history of the curve.")
    ] = "10,20,50,100,200",
    repeats: Annotated[int, typer.Option(min=1, help="People at each length.")] = 5,
    only: Annotated[
        str | None, typer.Option(metavar="A,B", help="Of curve, users, attributes.")
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(help="LoRA adapter that both forms ask, by name or folder.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of people, questions and bootstrap.")] = 0,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="agents.FIELD=VALUE or engine.FIELD=VALUE; repeatable."),
    ] = None,
    json_target: JsonOption = None,
) -> None:
    """The same prompts with items as text and as vectors, on one vLLM: tokens, seconds, answers.

    docs/hybrid.md defines the figures. With --json FILE they are written whenever a part is done.
    """
    from foretaste.app.benching.hybrid import PARTS, Bench, run

    figures = run(
        Bench(
            dataset=dataset,
            parts=tuple(only.split(",")) if only else PARTS,
            users=users,
            least_events=least_events,
            timed=timed,
            questions=questions,
            histories=numbers_of("--histories", histories),
            repeats=repeats,
            adapter=adapter,
            seed=seed,
            settings=tuple(setting or ()),
        ),
        lambda so_far: emit(so_far, json_target if json_target != "-" else None),
    )
    for name, value in figures.items():
        say(f"{name}: {value}")
    emit(figures, json_target)
