"""`foretaste evaluate interest`: the next-interest model beside rules and trained opponents."""

from __future__ import annotations

from typing import Annotated

import typer

from foretaste.app.commands.evaluate import (
    Fitted,
    History,
    HistoryOption,
    ResamplesOption,
    SeedOption,
    SplitKind,
    SplitOption,
    UsersOption,
)
from foretaste.app.console import DatasetOption, JsonOption, emit


def interest(
    dataset: DatasetOption,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="The served one (current, the default), a training's name under runs/interest, or a "
            "folder; several give the band over them.",
        ),
    ] = None,
    split: SplitOption = SplitKind.LEAVE_ONE_OUT,
    fitted_on: Annotated[
        Fitted, typer.Option(help="Events that model and opponents learn from.")
    ] = Fitted.TRAIN,
    history: HistoryOption = History.DROPPED,
    users: UsersOption = None,
    methods: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these beside interest (default: all).")
    ] = None,
    unseen: Annotated[
        int,
        typer.Option(
            min=0,
            max=9,
            help="Also a mix (mix_unseen) that keeps so many of its first ten places for items without "
            "any event.",
        ),
    ] = 0,
    seed: SeedOption = 0,
    resamples: ResamplesOption = 1000,
    json_target: JsonOption = None,
) -> None:
    """Rank every item for every test user: interest, its mix, the untrained rules, SASRec, EASE^R.

    SASRec is trained in the command (minutes) and kept; docs/interest.md says what is compared.
    """
    from foretaste.judge.interest.run import Settings, run
    from foretaste.judge.interest.table import show

    report = run(
        Settings(
            dataset=dataset,
            models=tuple(models or ["current"]),
            split=split.value,
            fitted_on=fitted_on.value,
            history=history.value,
            users=users,
            methods=methods.split(",") if methods else None,
            unseen=unseen,
            seed=seed,
            resamples=resamples,
        )
    )
    show(report, to_stderr=json_target is not None)
    emit(report, json_target)
