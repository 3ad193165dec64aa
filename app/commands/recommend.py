"""`foretaste recommend`: the agent graph for one person, in the terminal or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from foretaste.app.console import (
    MODEL,
    DatasetOption,
    EndpointOption,
    JsonOption,
    ModelOption,
    emit,
    say,
)

UserOption = Annotated[str | None, typer.Option(help="A user of the data set.")]
HistoryOption = Annotated[
    str | None, typer.Option(help="Item ids, oldest first, with commas between.")
]
WishOption = Annotated[
    str | None, typer.Option(help='Free text, such as "something lighter for tonight".')
]
CategoryOption = Annotated[
    list[str] | None, typer.Option(help="Only items of this category; may be repeated.")
]
DenyOption = Annotated[list[str] | None, typer.Option(help="Never this item id; may be repeated.")]
ConsumedOption = Annotated[
    bool, typer.Option("--include-consumed", help="Allow items of the history again.")
]
EngineOption = Annotated[
    str,
    typer.Option(
        help="vllm (a child process), transformers (in this process), or none; with --all also "
        "local (users in this process) or ray (users spread over a cluster)."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="FIELD=VALUE of agents, engine or environment (with --all also of fleet), as in "
        "agents.kept=8; repeatable.",
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(help="Also write result.json into this folder; with --all the rows."),
]
EverybodyOption = Annotated[
    bool, typer.Option("--all", help="Every user of the data set, as Parquet files in --out.")
]
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


LlmOption = Annotated[
    str | None,
    typer.Option(
        help="With --engine local or ray, how the language model runs: vllm, transformers or none; "
        "none if unset."
    ),
]
UsersOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="User ids, one a line, instead of all.")
]
PartitionsOption = Annotated[
    int | None, typer.Option(min=1, max=100_000, help="Files that --all writes; as fits if unset.")
]
ConcurrencyOption = Annotated[
    int | None, typer.Option(min=1, max=1024, help="Users under way at once in one worker.")
]


def recommend(
    dataset: DatasetOption,
    user: UserOption = None,
    history: HistoryOption = None,
    wish: WishOption = None,
    n: Annotated[int, typer.Option("--n", min=1, max=200, help="Items wanted.")] = 10,
    category: CategoryOption = None,
    deny: DenyOption = None,
    consumed: ConsumedOption = False,
    engine: EngineOption = "vllm",
    model: ModelOption = MODEL,
    endpoint: EndpointOption = None,
    setting: SetOption = None,
    mode: ModeOption = "hierarchical",
    seed: Annotated[int, typer.Option(help="Seed of everything that samples.")] = 0,
    run_id: RunOption = None,
    trace: TraceOption = False,
    out: OutOption = None,
    everybody: EverybodyOption = False,
    users: UsersOption = None,
    llm: LlmOption = None,
    partitions: PartitionsOption = None,
    concurrency: ConcurrencyOption = None,
    json_target: JsonOption = None,
) -> None:
    """Recommend items to one person, and show how they were found; or to all (--all).

    Give a --user of the data set, an inline --history, a --wish, or a wish beside one of the others.
    With --all or --users FILE: one row a user in --out DIR; killed, the same command goes on.
    """
    shared: dict[str, Any] = {
        "dataset": dataset,
        "n": n,
        "categories": tuple(category or ()),
        "deny": tuple(deny or ()),
        "include_consumed": consumed,
        "model": model,
        "endpoint": endpoint,
        "settings": tuple(setting or ()),
        "seed": seed,
        "mode": mode,
    }
    many = {"users": users, "partitions": partitions, "concurrency": concurrency}
    if everybody or users is not None:
        alone = [user, history, wish, run_id, trace or None]
        _to_all(engine, llm, out, alone, shared | many, json_target)
        return
    from foretaste.app.recommending import Call, run_call
    from foretaste.data.errors import InputError

    if llm is not None or any(many.values()):
        raise InputError("--llm, --partitions and --concurrency stand beside --all or --users.")
    call = Call(
        **shared,
        user=user,
        history=tuple(part.strip() for part in history.split(",") if part.strip())
        if history is not None
        else None,
        wish=wish,
        engine=engine,
        run_id=run_id,
        trace=trace,
        quiet=json_target == "-",
    )
    result = run_call(call)
    if out is not None:
        emit(result, str(out / "result.json"))
        say(f"Written: {out / 'result.json'}")
    emit(result, json_target)


def _to_all(
    engine: str,
    llm: str | None,
    out: Path | None,
    alone: Sequence[object],
    shared: dict[str, Any],
    json_target: str | None,
) -> None:
    from foretaste.app.fleet.config import placed
    from foretaste.app.fleet.many import ManyCall, run_many
    from foretaste.data.errors import InputError

    if out is None:
        raise InputError("A folder for the rows was expected; give --out DIR.")
    if any(one is not None for one in alone):
        raise InputError(
            "--user, --history, --wish, --run-id and --trace are about one person; leave them out "
            "beside --all."
        )
    where, model = placed(engine, llm, "none")
    call = ManyCall(where=where, engine=model, out=out, **shared)
    figures = run_many(call)
    say(
        f"{figures['users']:,} users have their row in {out}, {figures['failed']:,} of them with a "
        "reason instead of a page."
    )
    emit(figures, json_target)
