"""Ask a judge's model; an answer that cannot be read is asked for once more, with the error shown."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel

from foretaste.agents.objects import Step
from foretaste.data.errors import UnreadableAnswer
from foretaste.judge.config import JudgeConfig
from foretaste.judge.objects import Fault
from foretaste.judge.prompting import again, fingerprint
from foretaste.serving.chat import Ask, ChatModel, Message, Usage

Parsed = TypeVar("Parsed", bound=BaseModel)
ATTEMPTS = 2


@dataclass(frozen=True)
class Reading(Generic[Parsed]):
    """What came of a question: the object and its raw text, or the fault; and every call made."""

    parsed: Parsed | None
    text: str
    fault: Fault | None
    steps: tuple[Step, ...]


async def ask_readably(
    model: ChatModel,
    config: JudgeConfig,
    messages: tuple[Message, ...],
    schema: type[Parsed],
    *,
    node: str,
    label: str,
) -> Reading[Parsed]:
    """Ask at most twice.

    Args:
        model: the judge's language model.
        config: sampling, adapter, length and deadline.
        messages: the question.
        schema: what the answer must fit.
        node: evaluate, review or compare, for the record.
        label: the dimension or the order, for the record and for a fault.

    Returns:
        The reading. The steps hold the tokens of answers that could not be read too.

    Raises:
        EngineError: no answer came; nothing was said about the case.
    """
    steps: list[Step] = []
    text, reason = "", ""
    for _ in range(ATTEMPTS):
        asked = again(messages, text, reason) if steps else messages
        at, start = time.time(), time.perf_counter()
        answer, usage = None, Usage()
        try:
            answer = await model.ask(_question(asked, schema, config))
            usage, text, fault = answer.usage, answer.text, None
        except UnreadableAnswer as error:
            usage = error.usage if isinstance(error.usage, Usage) else usage
            text, reason = error.text, str(error)
            fault = f"unreadable: {error}"
        steps.append(
            Step(
                node=node,
                label=label,
                ms=(time.perf_counter() - start) * 1000,
                prompt=usage.prompt,
                cached=usage.cached,
                completion=usage.completion,
                fallback=fault,
                prompt_version=fingerprint()[:8],
                adapter=config.adapter,
                at=at,
            )
        )
        if answer is not None:
            return Reading(answer.parsed, text, None, tuple(steps))
    return Reading(None, text, Fault(dimension=label, reason=reason, text=text), tuple(steps))


def _question(
    messages: tuple[Message, ...], schema: type[Parsed], config: JudgeConfig
) -> Ask[Parsed]:
    return Ask(
        messages,
        schema,
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        seed=config.seed,
        adapter=config.adapter,
        deadline_s=config.deadline_s,
    )
