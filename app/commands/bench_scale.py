"""`foretaste bench scale`: how time and memory grow when there is more data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foretaste.app.console import JsonOption, emit, numbers_of, say


def scale(
    dataset: Annotated[
        str, typer.Option(metavar="NAME", help="An imported data set (`data list`).")
    ] = "ml-100k",
    only: Annotated[
        str | None, typer.Option(metavar="A,B", help="Of import, index, interest, recommend.")
    ] = None,
    sizes: Annotated[
        str, typer.Option(metavar="N,N", help="How many times over the data set is taken.")
    ] = "1,4,16",
    users: Annotated[
        int | None, typer.Option(min=3, help="People of size 1, drawn by --seed: all.")
    ] = None,
    items: Annotated[
        int | None, typer.Option(min=10, help="Items of size 1, drawn by --seed: all.")
    ] = None,
    preset: Annotated[str, typer.Option(help="Of the training of `interest`.")] = "smoke",
    seed: Annotated[int, typer.Option(min=0, help="Of people, copies and times.")] = 0,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="interest.FIELD=VALUE; repeatable.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the points that --json FILE holds already.")
    ] = False,
    json_target: JsonOption = None,
) -> None:
    """Import, index, training and batch recommendation at 1, 4 and 16 times the data.

    Each point is the command itself in a fresh temporary home: processor and wall seconds, peak
    memory, and the exponent of their growth. docs/scale.md tells how the data is made larger. With
    --json FILE the figures are written whenever a point is done.
    """
    from foretaste.app.benching.scale import PARTS, Bench, run
    from foretaste.data.errors import InputError
    from foretaste.data.settings import groups_known

    groups_known(setting or (), ("interest",))
    file = None if json_target in (None, "-") else json_target
    if resume and file is None:
        raise InputError("--resume goes on with a file of figures; give it as --json FILE.")
    figures = run(
        Bench(
            dataset=dataset,
            parts=tuple(only.split(",")) if only else PARTS,
            sizes=numbers_of("--sizes", sizes),
            users=users,
            items=items,
            preset=preset,
            seed=seed,
            settings=tuple(setting or ()),
        ),
        lambda so_far: emit(so_far, file),
        Path(file) if resume and file else None,
    )
    for name, part in figures["parts"].items():
        say(f"{name}: exponent {part.get('exponent')}, last {part.get('last_exponent')}")
        for point in part["points"]:
            say(f"  {point[part['unit']]:>12,} {part['unit']:<12} {point['processor_s']:>8.1f} s")
    emit(figures, json_target)
