"""Ask the model; when its answer fails the checks, use the grounded fallback and say so."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Generic, TypeVar

from pydantic import BaseModel

from foretaste.agents.config import AgentsConfig
from foretaste.agents.objects import Step
from foretaste.agents.wording import prompting
from foretaste.data.errors import UnreadableAnswer
from foretaste.serving.chat import Ask, ChatModel, Message, Usage

Parsed = TypeVar("Parsed", bound=BaseModel)
Result = TypeVar("Result")
Said = TypeVar("Said")
NO_MODEL = "no model was asked"
WARMER = 0.6  # sampling temperature of a second try, at least: greedy, it would be the same answer


class CheckFailed(Exception):
    """A model's answer says something that the data does not bear out."""


@dataclass(frozen=True)
class Repaired(Generic[Result]):
    """What a check made of an answer that holds in part.

    Attributes:
        made: the grounded objects.
        how: what was dropped or added, for the record.
    """

    made: Result
    how: str


async def ask_or_fall_back(
    model: ChatModel | None,
    config: AgentsConfig,
    *,
    node: str,
    label: str,
    messages: Callable[[], tuple[Message, ...]],
    schema: type[Parsed],
    max_tokens: int,
    check: Callable[[Parsed], Result | Repaired[Result]],
    fallback: Callable[[], Result],
    seed: int = 0,
    embeds: bool = False,
    prompt: str | None = None,
    meanwhile: Callable[[], object] | None = None,
) -> tuple[Result, Step]:
    """One call of one agent; an answer that fails is asked for again `config.retries` times, by sampling.

    Args:
        model: the language model, or None to use the fallbacks alone.
        config: deadline, temperature, adapter, retries.
        node: which agent, for the record.
        label: which persona or item, for the record.
        messages: writes the prompt; called only when there is a model to read it.
        schema: what the answer must fit.
        max_tokens: tokens the answer may have.
        check: turns the parsed answer into grounded objects, `Repaired` where a part of it did not
            hold, or raises `CheckFailed`.
        fallback: makes the same objects without a language model.
        seed: of the sampling.
        embeds: `check` and `fallback` read texts with the embedder, which may take long: they
            run in a thread, so that other requests go on.
        prompt: the file under `prompts/` that `messages` fills in, when it is not the node's.
        meanwhile: what later steps want and the model does not wait for: done in a thread while it
            answers. Without a model nobody waits, and it is not called.

    Returns:
        The objects, and the step with tokens, milliseconds, prompt version, adapter and the reason
        of a fallback or a repair.
        `EngineError` is not caught: a dead engine is not a wrong answer.
    """
    adapter = config.adapter_of(node)
    usage, reason = Usage(), NO_MODEL
    clock = _Clock(node, label, version_of(prompt or node), adapter if model else None)
    if model is not None:
        question = Ask(
            messages(),
            schema,
            max_tokens=max_tokens,
            temperature=config.temperature,
            seed=seed,
            adapter=adapter,
            deadline_s=config.deadline_s,
        )
        for again in range(config.retries + 1):
            if again:
                warmer = max(config.temperature, WARMER)
                question = replace(question, temperature=warmer, seed=seed + again)
                meanwhile = None
            clock.asks += 1
            try:
                answer = await _beside(model.ask(question), meanwhile)
                usage += answer.usage
                made = await _call(embeds, check, answer.parsed)
                if isinstance(made, Repaired):
                    return made.made, clock.step(usage, None, made.how)
                return made, clock.step(usage, None)
            except UnreadableAnswer as error:
                usage += error.usage if isinstance(error.usage, Usage) else Usage()
                reason = f"unreadable: {error}"
            except CheckFailed as error:
                reason = str(error)
    made = await _call(embeds, fallback)
    return made, clock.step(usage, reason)


async def _beside(asked: Awaitable[Said], work: Callable[[], object] | None) -> Said:
    """What was asked for, with `work` done in a thread before it is given."""
    if work is None:
        return await asked
    working = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asked
    finally:
        await working


async def _call(in_thread: bool, function: Callable[..., Result], *values: object) -> Result:
    return await asyncio.to_thread(function, *values) if in_thread else function(*values)


@cache
def version_of(prompt: str) -> str:
    """8 hex digits over all that one agent is told beside the data: changes with any word of it.

    Args:
        prompt: name of a file under `prompts/`, without its ending.
    """
    words = f"{prompting.template('system')}\0{prompting.template(prompt)}"
    return hashlib.sha256(words.encode()).hexdigest()[:8]


@dataclass
class _Clock:
    """One call under way."""

    node: str
    label: str
    version: str
    adapter: str | None
    at: float = field(default_factory=time.time)
    start: float = field(default_factory=time.perf_counter)
    asks: int = 0

    def step(self, usage: Usage, fallback: str | None, repaired: str | None = None) -> Step:
        """What it cost until now."""
        return Step(
            node=self.node,
            label=self.label,
            ms=(time.perf_counter() - self.start) * 1000,
            prompt=usage.prompt,
            cached=usage.cached,
            completion=usage.completion,
            fallback=fallback,
            repaired=repaired,
            prompt_version=self.version,
            adapter=self.adapter,
            asks=self.asks,
            at=self.at,
        )
