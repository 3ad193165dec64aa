"""Ask the model; when its answer fails the checks, use the grounded fallback and say so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel

from foretaste.agents.config import AgentsConfig
from foretaste.agents.objects import Step
from foretaste.data.errors import UnreadableAnswer
from foretaste.serving.chat import Ask, ChatModel, Message, Usage

Parsed = TypeVar("Parsed", bound=BaseModel)
Result = TypeVar("Result")
NO_MODEL = "no model was asked"


class CheckFailed(Exception):
    """A model's answer says something that the data does not bear out."""


async def ask_or_fall_back(
    model: ChatModel | None,
    config: AgentsConfig,
    *,
    node: str,
    label: str,
    messages: Callable[[], tuple[Message, ...]],
    schema: type[Parsed],
    max_tokens: int,
    check: Callable[[Parsed], Result],
    fallback: Callable[[], Result],
    seed: int = 0,
    embeds: bool = False,
) -> tuple[Result, Step]:
    """One call of one agent.

    Args:
        model: the language model, or None to use the fallbacks alone.
        config: deadline, temperature, adapter.
        node: which agent, for the record.
        label: which persona or item, for the record.
        messages: writes the prompt; called only when there is a model to read it.
        schema: what the answer must fit.
        max_tokens: tokens the answer may have.
        check: turns the parsed answer into grounded objects, or raises `CheckFailed`.
        fallback: makes the same objects without a language model.
        seed: of the sampling.
        embeds: `check` and `fallback` read texts with the embedder, which may take long: they
            run in a thread, so that other requests go on.

    Returns:
        The objects, and the step with tokens, milliseconds and the reason of a fallback.
        `EngineError` is not caught: a dead engine is not a wrong answer.
    """
    start = time.perf_counter()
    usage, reason = Usage(), NO_MODEL
    if model is not None:
        question = Ask(
            messages(),
            schema,
            max_tokens=max_tokens,
            temperature=config.temperature,
            seed=seed,
            adapter=config.adapter_of(node),
            deadline_s=config.deadline_s,
        )
        try:
            answer = await model.ask(question)
            usage = answer.usage
            made = await _call(embeds, check, answer.parsed)
            return made, _step(node, label, start, usage, None)
        except UnreadableAnswer as error:
            usage = error.usage if isinstance(error.usage, Usage) else usage
            reason = f"unreadable: {error}"
        except CheckFailed as error:
            reason = str(error)
    made = await _call(embeds, fallback)
    return made, _step(node, label, start, usage, reason)


async def _call(in_thread: bool, function: Callable[..., Result], *values: object) -> Result:
    return await asyncio.to_thread(function, *values) if in_thread else function(*values)


def _step(node: str, label: str, start: float, usage: Usage, fallback: str | None) -> Step:
    return Step(
        node=node,
        label=label,
        ms=(time.perf_counter() - start) * 1000,
        prompt=usage.prompt,
        cached=usage.cached,
        completion=usage.completion,
        fallback=fallback,
    )
