"""`foretaste judge policies`: what candidate policies would have earned, from a log of another one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foretaste.app.console import JsonOption, emit, say


def policies(
    log: Annotated[
        Path, typer.Option(metavar="FILE", help="Impressions with propensity and feedback.")
    ],
    policy: Annotated[
        list[str],
        typer.Option(metavar="NAME=FILE", help="A candidate's probabilities; repeatable."),
    ],
    context: Annotated[
        str, typer.Option(metavar="COLUMN", help="Who or what was asked.")
    ] = "user_id",
    action: Annotated[str, typer.Option(metavar="COLUMN", help="What was shown.")] = "item_id",
    reward: Annotated[str, typer.Option(metavar="COLUMN", help="Feedback, a number.")] = "reward",
    propensity: Annotated[
        str, typer.Option(metavar="COLUMN", help="Chance with which it was shown.")
    ] = "propensity",
    probability: Annotated[
        str, typer.Option(metavar="COLUMN", help="Of the candidates' tables.")
    ] = "probability",
    person: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Whose contexts are drawn together (default: each alone)."
        ),
    ] = None,
    judged: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=RUN", help="A candidate's run of `judge run`; repeatable."),
    ] = None,
    ranking: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FIGURE", help="A candidate's ranking metric; repeatable."),
    ] = None,
    online: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FIGURE", help="A candidate's value measured online; repeatable."
        ),
    ] = None,
    clip: Annotated[
        float | None, typer.Option(min=1, help="Largest importance weight (default: any).")
    ] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Of the bootstrap over contexts.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of bootstrap and folds.")] = 0,
    json_target: JsonOption = None,
) -> None:
    """IPS, SNIPS and doubly robust with intervals, SharpeRatio@k, beside judge and ranking metric.

    docs/policies.md says what the tables hold.
    """
    from foretaste.app.policies import PoliciesCall, run_policies, told_policies
    from foretaste.judge.policies.log import LogColumns

    report = run_policies(
        PoliciesCall(
            log=log,
            policies=tuple(policy),
            columns=LogColumns(context, action, reward, propensity, probability, person),
            judged=tuple(judged or ()),
            ranking=tuple(ranking or ()),
            online=tuple(online or ()),
            clip=clip,
            resamples=resamples,
            seed=seed,
        )
    )
    for line in told_policies(report):
        say(line)
    emit(report, json_target)
