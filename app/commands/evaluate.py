"""`foretaste evaluate`: how good the rankings are, measured over all items."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from foretaste.app.console import DatasetOption, JsonOption, emit

group = typer.Typer(help="Measure rankings over all items of a data set.", no_args_is_help=True)


class SplitKind(StrEnum):
    """How the data set is cut in time."""

    LEAVE_ONE_OUT = "leave-one-out"
    TEMPORAL = "temporal"


class Fitted(StrEnum):
    """What statistics are made from."""

    TRAIN = "train"
    BOTH = "train+validation"


class History(StrEnum):
    """Whether items of the history can be recommended again."""

    DROPPED = "dropped"
    KEPT = "kept"


SplitOption = Annotated[
    SplitKind, typer.Option(help="Each user's last item, or everything after a date.")
]
HistoryOption = Annotated[History, typer.Option(help="Are items of the history candidates?")]
UsersOption = Annotated[
    int | None, typer.Option(min=1, help="Ask a random sample of so many users (default: all).")
]
SeedOption = Annotated[int, typer.Option(help="Of samples and of the bootstrap.")]
ResamplesOption = Annotated[
    int, typer.Option(min=100, help="Bootstrap resamples behind each interval.")
]


@group.command("ranking")
def ranking(
    dataset: DatasetOption,
    split: SplitOption = SplitKind.LEAVE_ONE_OUT,
    fitted_on: Annotated[
        Fitted, typer.Option(help="Events that the statistics are made from.")
    ] = Fitted.TRAIN,
    history: HistoryOption = History.DROPPED,
    validation_start: Annotated[
        str | None, typer.Option(metavar="DATE", help="Temporal split: validation from here on.")
    ] = None,
    test_start: Annotated[
        str | None, typer.Option(metavar="DATE", help="Temporal split: test from here on.")
    ] = None,
    users: UsersOption = None,
    methods: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these methods (default: all).")
    ] = None,
    embedder: Annotated[
        str, typer.Option(help="Model behind embedding_last and diversity.")
    ] = "bundled:all-minilm-l6-v2",
    channel_users: Annotated[
        int,
        typer.Option(
            min=0, help="Users of the table of the graph without a model; 0 leaves it out."
        ),
    ] = 1000,
    seed: SeedOption = 0,
    resamples: ResamplesOption = 1000,
    json_target: JsonOption = None,
) -> None:
    """Rank every item for every test user and compare the untrained methods.

    R@K, NDCG@K, MRR, coverage, novelty and diversity with 95 % bootstrap intervals;
    docs/protocol.md says how each is measured.
    """
    from foretaste.judge.ranking.run import Settings, run
    from foretaste.judge.ranking.table import show

    report = run(
        Settings(
            dataset=dataset,
            split=split.value,
            fitted_on=fitted_on.value,
            history=history.value,
            validation_start=validation_start,
            test_start=test_start,
            users=users,
            methods=methods.split(",") if methods else None,
            embedder=embedder,
            seed=seed,
            resamples=resamples,
            channel_users=channel_users,
        )
    )
    show(report, to_stderr=json_target is not None)
    emit(report, json_target)
