"""`foretaste recommend`: the agent graph for one person, in the terminal or as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foretaste.app.console import DatasetOption, JsonOption, emit, say

ModeOption = Annotated[
    str,
    typer.Option(help="How tags come about: hierarchical, routes (for comparison) or single."),
]
RunOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Keep checkpoints under this name: the same command again goes on from them.",
    ),
]
TraceOption = Annotated[
    bool,
    typer.Option("--trace", help="Show every node and call as a tree; `trace` in the JSON."),
]


def recommend(
    dataset: DatasetOption,
    user: Annotated[str | None, typer.Option(help="A user of the data set.")] = None,
    history: Annotated[
        str | None, typer.Option(help="Item ids, oldest first, with commas between.")
    ] = None,
    wish: Annotated[
        str | None, typer.Option(help='Free text, such as "something lighter for tonight".')
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, max=200, help="Items wanted.")] = 10,
    category: Annotated[
        list[str] | None, typer.Option(help="Only items of this category; may be repeated.")
    ] = None,
    deny: Annotated[
        list[str] | None, typer.Option(help="Never this item id; may be repeated.")
    ] = None,
    consumed: Annotated[
        bool, typer.Option("--include-consumed", help="Allow items of the history again.")
    ] = False,
    engine: Annotated[
        str,
        typer.Option(help="vllm (a child process), transformers (in this process), or none."),
    ] = "vllm",
    model: Annotated[
        str, typer.Option(help="bundled:NAME, a folder, a hub id, or the endpoint's model name.")
    ] = "bundled:smollm2-135m-instruct",
    endpoint: Annotated[
        str | None, typer.Option(help="URL of an OpenAI-compatible API to use instead.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="agents.FIELD=VALUE, engine.FIELD=VALUE or environment.FIELD=VALUE; repeatable.",
        ),
    ] = None,
    mode: ModeOption = "hierarchical",
    seed: Annotated[int, typer.Option(help="Seed of everything that samples.")] = 0,
    run_id: RunOption = None,
    trace: TraceOption = False,
    out: Annotated[
        Path | None, typer.Option(help="Also write result.json into this folder.")
    ] = None,
    json_target: JsonOption = None,
) -> None:
    """Recommend items to one person, and show how they were found.

    Give a --user of the data set, an inline --history, a --wish, or a wish beside one of the others.
    """
    from foretaste.app.recommending import Call, run_call

    call = Call(
        dataset=dataset,
        user=user,
        history=tuple(part.strip() for part in history.split(",") if part.strip())
        if history is not None
        else None,
        wish=wish,
        n=n,
        categories=tuple(category or ()),
        deny=tuple(deny or ()),
        include_consumed=consumed,
        engine=engine,
        model=model,
        endpoint=endpoint,
        settings=tuple(setting or ()),
        seed=seed,
        mode=mode,
        run_id=run_id,
        trace=trace,
        quiet=json_target == "-",
    )
    result = run_call(call)
    if out is not None:
        emit(result, str(out / "result.json"))
        say(f"Written: {out / 'result.json'}")
    emit(result, json_target)
