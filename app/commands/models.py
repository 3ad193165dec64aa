"""`foretaste models`: what the store holds, fetching it, and whether it is intact."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from foretaste.app.console import JsonOption, emit, say

group = typer.Typer(help="Language models and embedders: list, fetch, show.", no_args_is_help=True)


@group.command("list")
def list_models(json_target: JsonOption = None) -> None:
    """The bundled models, what else the store holds, and the adapters, shipped ones included."""
    from foretaste.serving.shipped import adapter_list
    from foretaste.serving.store import model_list

    rows, adapters = model_list(), adapter_list()
    if json_target is None:
        for row in rows:
            state = f"{row['bytes'] / 1e6:,.1f} MB" if row["fetched"] else "not fetched"
            print(f"{row['name']:<34} {state:>12}  {row.get('purpose', '')}")
        for row in adapters:
            kind = "shipped adapter" if row["shipped"] else "adapter"
            size = f"{row['bytes'] / 1e6:,.1f} MB"
            print(f"{row['name']:<34} {size:>12}  {kind} of {row['base'] or 'an unnamed model'}")
    emit({"models": rows, "adapters": adapters}, json_target)


@group.command()
def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...]",
            help="bundled:NAME, a folder, a .gguf file or a hub id; the two bundled ones (about "
            "180 MB to fetch, 365 MB on disk) when none is named.",
        ),
    ] = None,
    json_target: JsonOption = None,
) -> None:
    """Fetch models into the store. What is there and intact is not fetched again."""
    from foretaste.serving.bundled import BUNDLED, PREFIX, bundled, fetch_bundled
    from foretaste.serving.store import model_folder

    rows: list[dict[str, Any]] = []
    wanted = names or [PREFIX + name for name in BUNDLED]
    for name in wanted:
        if name.startswith(PREFIX) or name in BUNDLED:
            model = bundled(name)
            made = fetch_bundled(model)
            folder = model_folder(PREFIX + model.name)
            say(f"{PREFIX}{model.name}: {'ready' if made else 'there already, intact'} ({folder})")
        else:
            folder, made = model_folder(name), None
            say(f"{name}: ready ({folder})")
        rows.append({"name": name, "folder": str(folder), "fetched_now": made})
    emit({"models": rows}, json_target)


@group.command()
def show(
    name: Annotated[str, typer.Argument(help="bundled:NAME, a folder, a .gguf file or a hub id.")],
    json_target: JsonOption = None,
) -> None:
    """One model: where it is, its licence and origin, and whether its files are intact.

    Exits 1 when a file of it is missing or has changed.
    """
    from foretaste.serving.store import model_facts

    facts = model_facts(name)
    if json_target is None:
        for key, value in facts.items():
            if key != "files":
                print(f"{key:<9} {value}")
        for file, about in facts.get("files", {}).items():
            print(f"  {about['sha256'][:12]}  {about['bytes']:>12,} B  {file}")
    emit(facts, json_target)
    if facts.get("intact") is False:
        say(f"{name} is damaged: {facts['fault']}; `foretaste models fetch {name}` mends it.")
        raise typer.Exit(1)
