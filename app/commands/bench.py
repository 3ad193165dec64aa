"""`foretaste bench`: how fast this machine serves, and what each way to the tags is worth."""

from __future__ import annotations

from typing import Annotated

import typer

from foretaste.app.console import JsonOption, emit, numbers_of, say

group = typer.Typer(help="Measure speed, and the agents.", no_args_is_help=True)


@group.callback()
def _group() -> None:
    """Measure how fast this machine serves, and the agents against simpler ways."""


@group.command("serving")
def serving(
    dataset: Annotated[
        str, typer.Option(metavar="NAME", help="An imported data set (`data list`).")
    ] = "ml-100k",
    only: Annotated[
        str | None, typer.Option(metavar="A,B", help="Of users, overhead, prefill, index.")
    ] = None,
    users: Annotated[int, typer.Option(min=1, help="Users at once on vLLM.")] = 16,
    sequential: Annotated[
        int | None,
        typer.Option(min=1, help="Of these, how many one after another on transformers: all."),
    ] = None,
    requests: Annotated[
        int, typer.Option(min=20, help="Requests that the pipeline is timed with.")
    ] = 200,
    index_items: Annotated[
        str, typer.Option(metavar="N,N", help="Sizes of the indexes.")
    ] = "10000,100000,1000000",
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="engine.FIELD=VALUE; repeatable.")
    ] = None,
    json_target: JsonOption = None,
) -> None:
    """Users per minute, milliseconds outside the model, reading text against hybrid, the index.

    `overhead` puts a model that answers at once in the place of the language model.
    """
    from foretaste.app.benching.serving import PARTS, Bench, run

    figures = run(
        Bench(
            dataset=dataset,
            parts=tuple(only.split(",")) if only else PARTS,
            users=users,
            sequential=sequential,
            requests=requests,
            index_items=numbers_of("--index-items", index_items),
            settings=tuple(setting or ()),
        )
    )
    for name, value in figures.items():
        say(f"{name}: {value}")
    emit(figures, json_target)


@group.command("agents")
def agents(
    dataset: Annotated[
        str, typer.Option(metavar="NAME", help="An imported data set (`data list`).")
    ] = "amazon-beauty",
    users: Annotated[
        int, typer.Option(min=1, help="Users with enough events, drawn by --seed.")
    ] = 200,
    least_events: Annotated[
        int, typer.Option(min=3, help="Events that a user has, at least.")
    ] = 20,
    model_users: Annotated[
        int | None, typer.Option(min=1, help="Of these, how many the model is asked about: all.")
    ] = None,
    modes: Annotated[
        str, typer.Option(metavar="A,B", help="Of hierarchical, routes, single.")
    ] = "hierarchical,routes,single",
    engine: Annotated[
        str, typer.Option(help="vllm, or none to measure quality without a model.")
    ] = "vllm",
    split: Annotated[str, typer.Option(help="leave-one-out.")] = "leave-one-out",
    cases: Annotated[str, typer.Option(help="test, or validation to choose settings by.")] = "test",
    same_intents: Annotated[
        bool,
        typer.Option(
            "--same-intents", help="Costs where no answer is believed: five intents each."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of users, sampling and bootstrap.")] = 0,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="agents.FIELD=VALUE or engine.FIELD=VALUE; repeatable."),
    ] = None,
    json_target: JsonOption = None,
) -> None:
    """Hierarchical agents against independent routes and one prompt: tokens, seconds, quality.

    docs/agents-bench.md defines the figures. With --json FILE the figures so far are written
    whenever a mode is done.
    """
    from foretaste.app.benching.agent_table import show
    from foretaste.app.benching.agents import Bench, run

    figures = run(
        Bench(
            dataset=dataset,
            users=users,
            least_events=least_events,
            model_users=model_users,
            modes=tuple(modes.split(",")),
            engine=engine,
            split=split,
            cases=cases,
            same_intents=same_intents,
            seed=seed,
            settings=tuple(setting or ()),
        ),
        lambda so_far: emit(so_far, json_target if json_target != "-" else None),
    )
    show(figures)
    emit(figures, json_target)
