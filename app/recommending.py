"""The road of one `foretaste recommend`: check the call, load, start the engine, run, show."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError

from foretaste.agents.config import AgentsConfig
from foretaste.agents.contexts import context
from foretaste.agents.contexts.profile_store import Profiles, stored_profiles
from foretaste.agents.contexts.surroundings import EnvironmentConfig, Surroundings
from foretaste.agents.objects import Mode, Request
from foretaste.agents.recommend import Run, result, stream
from foretaste.agents.retrieval.tools import Tools, load_tools
from foretaste.agents.running.checkpoints import Thread, made_of, opened
from foretaste.app.adapters import with_shipped
from foretaste.app.entities import in_form
from foretaste.app.show import Screen, show_trace
from foretaste.data.dataset import Dataset
from foretaste.data.errors import EngineError, InputError
from foretaste.data.files import safe_name
from foretaste.data.progress import note
from foretaste.data.settings import groups_known, override
from foretaste.data.store import load_dataset
from foretaste.serving.chat import Answer, Ask, Parsed
from foretaste.serving.engine import EngineConfig, open_chat
from foretaste.serving.index.filters import ItemFilter


class EngineChoice(BaseModel, frozen=True):
    """Which language model, and the `--set` assignments that may concern it."""

    engine: str = "vllm"
    model: str = "bundled:smollm2-135m-instruct"
    endpoint: str | None = None
    settings: tuple[str, ...] = ()


class Call(EngineChoice, frozen=True):
    """The options of one `foretaste recommend`; see its help."""

    dataset: str
    user: str | None = None
    history: tuple[str, ...] | None = None
    wish: str | None = None
    n: int = 10
    categories: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    include_consumed: bool = False
    seed: int = 0
    mode: str = "hierarchical"
    run_id: str | None = None
    trace: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class NotStarted:
    """The model behind a run that is finished: it has a name, and nobody asks it."""

    name: str

    async def ask(self, ask: Ask[Parsed]) -> Answer[Parsed]:
        """Raise `EngineError`."""
        raise EngineError(f"The engine of {self.name} was not started, as the run is finished.")

    async def close(self) -> None:
        """There is nothing to let go of."""


def run_call(call: Call) -> dict[str, Any]:
    """Run one call and return its result; everything wrong with the call is said first."""
    groups_known(call.settings, ("agents", "engine", "environment"))
    config = override(AgentsConfig(), "agents", call.settings)
    engine = engine_of(call)
    surroundings = surroundings_of(call)
    request = request_of(call)
    dataset = load_dataset(call.dataset)
    reader, settings = context.read(dataset, request), (config, surroundings.config)
    depends = made_of(dataset, settings, request, reader, _model(engine))
    return asyncio.run(_run(call, depends, dataset, config, engine, surroundings, request))


def engine_of(call: EngineChoice) -> EngineConfig | None:
    """The engine behind the options, or None for `--engine none`."""
    if call.engine == "none" and call.endpoint is None:
        return None
    if call.engine not in ("none", "vllm", "transformers"):
        raise InputError(f"--engine expects vllm, transformers or none, not {call.engine!r}.")
    options = [f"engine.model={call.model}"]
    if call.endpoint:
        options.append(f"engine.endpoint={call.endpoint}")
    else:
        options.append(f"engine.engine={call.engine}")
    return override(EngineConfig(), "engine", [*options, *call.settings])


def surroundings_of(call: EngineChoice) -> Surroundings:
    """What the options tell of the day."""
    return Surroundings(override(EnvironmentConfig(), "environment", call.settings))


def request_of(call: Call) -> Request:
    """The request behind the options."""
    if call.user is None and call.history is None and not (call.wish or "").strip():
        raise InputError("Whom to recommend to was expected; give --user, --history or --wish.")
    if call.user is not None and call.history is not None:
        raise InputError("--user and --history exclude each other; give one of them.")
    if call.mode not in get_args(Mode):
        raise InputError(f"--mode expects {', '.join(get_args(Mode))}, not {call.mode!r}.")
    if call.run_id is not None:
        safe_name(call.run_id)
    try:
        return Request(
            user_id=call.user,
            history=call.history,
            wish=call.wish,
            n=call.n,
            include_consumed=call.include_consumed,
            filters=ItemFilter(categories=call.categories, deny=call.deny),
            seed=call.seed,
            mode=cast(Mode, call.mode),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from error


async def _run(
    call: Call,
    depends: dict[str, str],
    dataset: Dataset,
    config: AgentsConfig,
    engine: EngineConfig | None,
    surroundings: Surroundings,
    request: Request,
) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        thread = await _thread(stack, call, dataset.name, depends)
        done = thread is not None and thread.done
        if done:  # nothing is started, and the result names what answered
            config, engine = with_shipped(*in_form(config, engine, dataset.name))
        tools = await load(stack, dataset, config, None if done else engine, surroundings)
        if done and engine is not None:
            tools = tools.with_model(NotStarted(engine.model))
        screen, run = Screen(), Run()
        stack.callback(screen.rest)
        async for node, made in stream(tools, request, run, thread):
            if not call.quiet:
                screen.show(node, made)
        outcome = result(tools, request, run, traced=True)
    if not call.quiet:
        screen.costs(outcome)
    if call.trace:
        show_trace(outcome["trace"])
    else:
        del outcome["trace"]
    return outcome


async def _thread(
    stack: AsyncExitStack, call: Call, dataset: str, depends: dict[str, str]
) -> Thread | None:
    """The checkpoints of `--run-id`, kept open until `stack` ends; None without one."""
    if call.run_id is None:
        return None
    kept = await stack.enter_async_context(opened(dataset))
    thread = await kept.thread(call.run_id, depends, call.user)
    if thread.done:
        note(f"Run {call.run_id} is finished; this is what it made.")
    elif thread.begun:
        note(f"Run {call.run_id} goes on where it was.")
    return thread


def _model(engine: EngineConfig | None) -> str:
    """Which language model answers, and how it is read."""
    return (
        "" if engine is None else f"{engine.endpoint or engine.engine} {engine.model} {engine.form}"
    )


async def load(
    stack: AsyncExitStack,
    dataset: Dataset,
    config: AgentsConfig,
    engine: EngineConfig | None,
    surroundings: Surroundings,
    *,
    kept: bool = True,
) -> Tools:
    """The tools with their model; everything else is loaded while the engine starts.

    The engine ends with `stack`. Entities go as vectors when that is wanted and an adaptor fits.
    Profiles are made anew for each request unless they are `kept`.
    """
    config, engine = await asyncio.to_thread(in_form, config, engine, dataset.name)
    config, engine = with_shipped(config, engine)
    profiles = stored_profiles(dataset.name) if kept and config.profile else Profiles()
    loading = partial(
        load_tools,
        dataset,
        config,
        surroundings=surroundings,
        profiles=profiles if config.profile else None,
    )
    if engine is None:
        return loading()
    starting = asyncio.create_task(stack.enter_async_context(open_chat(engine)))
    try:
        tools = await asyncio.to_thread(loading)
        return tools.with_model(await starting)
    finally:
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
