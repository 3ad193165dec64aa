"""`foretaste evaluate intent`: whether the tags of a model name what people choose next."""

from __future__ import annotations

from typing import Annotated

import typer

from foretaste.app.console import DatasetOption, JsonOption, emit, say


def intent(
    dataset: DatasetOption,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=FOLDER]",
            help="An arm beside the base model: an adapter of the store or a shipped one, or NAME= "
            "its folder. Seeds of one arm are NAME@1=…, NAME@2=…",
        ),
    ] = None,
    users: Annotated[int, typer.Option(min=1, help="People that are asked about.")] = 500,
    explained: Annotated[
        int, typer.Option(min=0, help="Of these, how many also get explanations.")
    ] = 50,
    base: Annotated[bool, typer.Option(help="Whether the untrained model is an arm.")] = True,
    cases: Annotated[str, typer.Option(help="test or validation.")] = "test",
    model: Annotated[str, typer.Option(help="Base model.")] = "bundled:smollm2-135m-instruct",
    engine: Annotated[str, typer.Option(help="vllm or transformers.")] = "vllm",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="GROUP.FIELD=VALUE", help="agents.… or engine.…"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the people and of the bootstrap.")] = 0,
    json_target: JsonOption = None,
) -> None:
    """Ask the agents about test users and see whether the tags name the next category.

    Base model and adapters side by side with untrained lists, paired by person; docs/finetuning.md.
    """
    from foretaste.data.errors import InputError
    from foretaste.judge.intent.run import Settings, run
    from foretaste.serving.engine_config import EngineConfig

    if cases not in ("test", "validation") or engine not in ("vllm", "transformers"):
        raise InputError("--cases expects test or validation, --engine vllm or transformers.")
    result = run(
        Settings(
            dataset=dataset,
            adapters=tuple(adapter or ()),
            users=users,
            explained=explained,
            base=base,
            which=cases,
            seed=seed,
            engine=EngineConfig(model=model, engine=engine),
            changes=tuple(changes or ()),
        )
    )
    say(f"{result['users']:,} people, {result['categories']} leaf categories")
    say(
        f"{'arm':<20} {'HR@5':>6} {'@10':>6} {'@30':>6}  {'served@10':>9} {'experts@10':>10}  fallbacks"
    )
    for name, row in result["arms"].items():
        rates = row.get("fallback_rate", {})
        told = ", ".join(f"{k} {v:.0%}" for k, v in rates.items() if v is not None)
        served, alone = (row.get(f"{kind}_hr@10", row["hr@10"]) for kind in ("served", "experts"))
        say(
            f"{name:<20} {row['hr@5']:>6.3f} {row['hr@10']:>6.3f} {row['hr@30']:>6.3f}  "
            f"{served:>9.3f} {alone:>10.3f}  {told}"
        )
    emit(result, json_target)
