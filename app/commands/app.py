"""`foretaste app`: the page in the browser, with engine and API in the same process."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from foretaste.app.console import MODEL, EndpointOption, EngineOption, ModelOption, say


def app(
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Data set to begin with (default: the first imported)."),
    ] = None,
    engine: EngineOption = "vllm",
    model: ModelOption = MODEL,
    endpoint: EndpointOption = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's need --auth.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of page and API.")] = 7860,
    auth: Annotated[
        str | None,
        typer.Option(
            envvar="FORETASTE_AUTH", metavar="NAME:PASSWORD", help="Ask who opens the page."
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="FIELD=VALUE of api, agents, engine or environment."),
    ] = None,
) -> None:
    """Open the page (and the API) on this machine; Ctrl-C stops all that was started."""
    from foretaste.app.api.memory import share_freed_memory
    from foretaste.data.errors import InputError
    from foretaste.data.store import list_datasets

    known = [one.name for one in list_datasets()]
    if dataset is None and not known:
        raise InputError(
            "A data set was expected and none is imported; run `foretaste data fetch ml-100k`, or "
            "`foretaste data import` for your own."
        )
    share_freed_memory()
    from foretaste.app.api.server import Serving, serve
    from foretaste.app.page.build import PATH

    say(f"The page will stand at http://{host}:{port}{PATH} as soon as the engine is ready.")
    with contextlib.suppress(KeyboardInterrupt):
        serve(
            Serving(
                dataset=dataset or known[0],
                engine=engine,
                model=model,
                endpoint=endpoint,
                host=host,
                port=port,
                settings=tuple(setting or ()),
                page=True,
                auth=auth,
            )
        )
    say("Stopped.")
