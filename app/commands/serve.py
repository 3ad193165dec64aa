"""`foretaste serve`: the engine and the HTTP API, or the engine alone; and the keys of the API."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from foretaste.app.console import (
    MODEL,
    EndpointOption,
    EngineOption,
    JsonOption,
    ModelOption,
    emit,
    say,
)

_LOOK_SECONDS = 1.0

group = typer.Typer(help="Serve recommendations over HTTP, and what belongs to it.")
keys = typer.Typer(help="API keys: made, listed, removed.", no_args_is_help=True)
group.add_typer(keys, name="keys")


@group.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="An imported data set (`data list`).")
    ] = None,
    engine: EngineOption = "vllm",
    model: ModelOption = MODEL,
    endpoint: EndpointOption = None,
    engine_only: Annotated[
        bool, typer.Option("--engine-only", help="Start vLLM alone, without the API.")
    ] = False,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's need keys.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port; a free one if unset.")
    ] = None,
    on_ray: Annotated[
        bool,
        typer.Option(
            "--ray", help="Replicas on Ray Serve: --set fleet.workers, fleet.most_workers."
        ),
    ] = False,
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Let anybody who reaches the address ask.")
    ] = False,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="FIELD=VALUE of api, agents, engine or environment, as in api.runs=2; repeatable.",
        ),
    ] = None,
) -> None:
    """Start engine and API together and print the address; Ctrl-C stops all that was started.

    With --engine-only: vLLM alone, for `foretaste recommend --endpoint URL --model NAME`; others than
    this machine's must send the key that VLLM_API_KEY holds.
    """
    if context.invoked_subcommand is not None:
        return
    settings = tuple(setting or ())
    try:
        if engine_only:
            _engine_alone(model, host, port, without_keys, settings)
        else:
            _engine_and_api(
                on_ray,
                dataset=dataset,
                engine=engine,
                model=model,
                endpoint=endpoint,
                host=host,
                port=port,
                without_keys=without_keys,
                settings=settings,
            )
    except KeyboardInterrupt:
        pass
    say("Stopped.")


@keys.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Whose key it is; shown in the log.")],
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="Requests a second; the server's own if unset.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Requests under way; the server's own if unset.")
    ] = None,
) -> None:
    """Make a key and print it once: only its hash is kept."""
    from foretaste.app.api.keys import add_key

    print(add_key(name, rate, concurrency))
    say(f"This is the key of {name}; it cannot be shown again. Send it as Authorization: Bearer.")


@keys.command("list")
def listing() -> None:
    """Show whose keys there are."""
    from foretaste.app.api.keys import read_keys

    for key in read_keys():
        made = time.strftime("%Y-%m-%d", time.gmtime(key.created))
        limits = f"{key.rate or 'usual'} a second, {key.concurrency or 'usual'} under way"
        print(f"{key.name}\tft_{key.id}_…\tsince {made}\t{limits}")


@keys.command("remove")
def remove(name: Annotated[str, typer.Argument(help="Whose key it is.")]) -> None:
    """Take a key away; a running server refuses it from the next request on."""
    from foretaste.app.api.keys import remove_key

    remove_key(name)
    say(f"The key of {name} is gone.")


@group.command("batch")
def batch(
    source: Annotated[Path, typer.Argument(metavar="IN.JSONL", help="Requests, one a line.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.JSONL", help="Results, appended.")],
    model: Annotated[
        str, typer.Option(help="Engine's model; the model of requests that name none.")
    ] = MODEL,
    endpoint: Annotated[
        str | None, typer.Option(help="URL of an OpenAI-compatible API to send them to.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=1024, help="Requests under way at a time.")
    ] = 32,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="engine.FIELD=VALUE; repeatable.")
    ] = None,
    json_target: JsonOption = None,
) -> None:
    """Run a file of requests in OpenAI's batch form; the same command goes on after a stop.

    Every custom_id gets one line in OUT.JSONL, refused requests one with their reason.
    """
    from foretaste.app.batching import run_files

    counts = run_files(
        source,
        target,
        model=model,
        endpoint=endpoint,
        concurrency=concurrency,
        settings=tuple(setting or ()),
    )
    say(f"{counts['requests']} requests are answered, {counts['before']} of them before.")
    emit(counts, json_target)


def _engine_alone(
    model: str, host: str, port: int | None, without_keys: bool, settings: tuple[str, ...]
) -> None:
    from foretaste.app.api.guard import LOCAL
    from foretaste.data.errors import InputError
    from foretaste.data.settings import groups_known, override
    from foretaste.serving.engine_config import EngineConfig
    from foretaste.serving.vllm_server import vllm_server

    groups_known(settings, ("engine",))
    config = override(EngineConfig(model=model, host=host, port=port), "engine", settings)
    if config.host not in LOCAL and not without_keys and not os.environ.get("VLLM_API_KEY"):
        raise InputError(
            f"--host {config.host} can be reached from other machines and the engine has no key; set "
            "VLLM_API_KEY, or say --without-keys if others keep it safe."
        )
    with vllm_server(config) as server:
        print(server.url, flush=True)
        say(f"{model} answers at {server.url} (log: {server.log}). Ctrl-C stops it.")
        while True:
            server.check()
            time.sleep(_LOOK_SECONDS)


def _engine_and_api(on_ray: bool, dataset: str | None, **options: object) -> None:
    from foretaste.app.api.memory import share_freed_memory
    from foretaste.data.errors import InputError

    if dataset is None:
        raise InputError("A data set to serve was expected; give --dataset, or --engine-only.")
    share_freed_memory()
    from foretaste.app.api.server import Serving, serve

    if on_ray:
        from foretaste.app.fleet.deploy import serve_on_ray

        serve_on_ray(Serving.model_validate({"dataset": dataset, **options}))
        return
    serve(Serving.model_validate({"dataset": dataset, **options}))
