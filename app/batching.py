"""The road of `foretaste serve batch`: check the files, open the engine, run, count."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Any

from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.settings import groups_known, override
from foretaste.serving.batch import Counts, Requests, Results, results, run_batch
from foretaste.serving.engine import EngineConfig, open_chat
from foretaste.serving.openai_chat import OpenAIChat


def run_files(
    source: Path,
    target: Path,
    *,
    model: str,
    endpoint: str | None,
    concurrency: int,
    settings: tuple[str, ...],
) -> dict[str, Any]:
    """Run the requests of `source` into `target` and return the counts.

    Raises:
        InputError: the files or the settings are wrong; nothing was sent.
        ForetasteError: some requests were refused; everything has its line all the same.
    """
    groups_known(settings, ("engine",))
    config = override(EngineConfig(model=model, endpoint=endpoint), "engine", settings)
    if config.form != "text" or (config.engine != "vllm" and endpoint is None):
        raise InputError("A batch is sent as text to vLLM or an endpoint; leave engine and form.")
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError("The output would be written over the input; name another output file.")
    requests = Requests(source)
    with results(target) as kept:
        counts = asyncio.run(_run(requests, kept, config, concurrency))
    if counts.failed:
        raise ForetasteError(
            f"{counts.failed} of {counts.requests} requests failed; their reasons stand in "
            f"{target}. Remove those lines and run the same command to try them again."
        )
    return asdict(counts)


async def _run(requests: Requests, kept: Results, config: EngineConfig, concurrency: int) -> Counts:
    if all(name in kept.done for name in requests.places):
        states = [kept.done[name] for name in requests.places]
        return Counts(len(states), len(states), sum(states), states.count(False))
    async with open_chat(config) as chat:
        if not isinstance(chat, OpenAIChat):
            raise InputError("A batch needs vLLM or an endpoint.")
        return await run_batch(requests, kept, chat, concurrency)
