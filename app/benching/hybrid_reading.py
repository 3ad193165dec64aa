"""Reading and writing of one prompt in both forms, a call at a time, on one vLLM."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from foretaste.agents.contexts import context
from foretaste.agents.contexts.context import Reader
from foretaste.agents.contexts.counting import count_for
from foretaste.agents.objects import Request
from foretaste.agents.reasoning import planner
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording.schemas import PlannerAnswer
from foretaste.data.errors import UnreadableAnswer
from foretaste.data.progress import meter
from foretaste.serving.chat import Ask, ChatModel, Usage, entities_of
from foretaste.serving.hybrid_prompt import EntityVectors

FORMS = ("text", "hybrid")
_TEMPLATE = 32  # tokens that a chat template adds, at most


@dataclass(frozen=True)
class Forms:
    """One server, asked in both forms.

    Attributes:
        text: entities written out.
        hybrid: entities as one vector each.
        vectors: gives entities their vectors.
    """

    text: ChatModel
    hybrid: ChatModel
    vectors: EntityVectors

    def named(self) -> dict[str, ChatModel]:
        """Form → what asks in it."""
        return {"text": self.text, "hybrid": self.hybrid}


@dataclass(frozen=True)
class Cost:
    """What one planner's call takes.

    Attributes:
        tokens: of its prompt.
        prefill_s: until one token is written.
        decode_s: what the rest of the answer takes.
        written: tokens of the answer.
    """

    tokens: int
    prefill_s: float
    decode_s: float
    written: int


async def cost(chat: ChatModel, ask: Ask[Any]) -> Cost:
    """Ask twice: for one token, and for the whole answer. The server must have no prefix cache."""
    read = await usage(chat, replace(ask, max_tokens=1))
    whole = await usage(chat, ask)
    seconds = max(whole.ms - read.ms, 0.0) / 1000
    return Cost(whole.prompt, read.ms / 1000, seconds, whole.completion)


async def usage(chat: ChatModel, ask: Ask[Any]) -> Usage:
    """What a call costs, whether its answer can be read or not."""
    try:
        return (await chat.ask(ask)).usage
    except UnreadableAnswer as cut:
        return cut.usage if isinstance(cut.usage, Usage) else Usage()


def planner_ask(tools: Tools, reader: Reader, adapter: str | None) -> Ask[PlannerAnswer]:
    """The planner's question about one reader, three personas wanted, as it is served."""
    history = planner.history_of(tools, reader)
    return Ask(
        planner.planner_messages(reader, history, 3),
        PlannerAnswer,
        max_tokens=2 * planner.TOKENS_EACH,
        adapter=adapter,
        deadline_s=tools.config.deadline_s,
    )


def newest(tools: Tools, user: str, events: int) -> Reader:
    """One user as if the newest `events` of the history were all there is."""
    whole = context.read(tools.dataset, Request(user_id=user, environment=()))
    told = whole.context.model_copy(update={"events": whole.context.events[-events:]})
    return Reader(told, whole.rows[-events:], whole.allowed)


async def curve(
    tools: Tools,
    forms: Forms,
    lengths: Sequence[int],
    repeats: int,
    adapter: str | None,
    most_tokens: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Cost of the planner's call at each length of history, medians over people.

    Args:
        tools: of the graph; histories of the data set, entities written in full.
        forms: both forms.
        lengths: events of a history; one that nobody has is left out.
        repeats: people at each length.
        adapter: LoRA adapter that is asked.
        most_tokens: prompts that are longer in the text form are left out.
        seed: of the choice of people.
    """
    rows: list[dict[str, Any]] = []
    lengths_of = tools.dataset.histories.lengths
    count = count_for(tools.model.name if tools.model else None)
    with meter("Reading histories", len(lengths), "lengths") as progress:
        for events in lengths:
            able = np.flatnonzero(lengths_of >= events)
            drawn = np.random.default_rng([seed, events]).permutation(able)[:repeats]
            users = [tools.dataset.user_ids[place] for place in drawn]
            asks = [planner_ask(tools, newest(tools, user, events), adapter) for user in users]
            asks = [
                ask
                for ask in asks
                if sum(count(turn.text) for turn in ask.messages) + _TEMPLATE <= most_tokens
            ]
            if asks and not rows:
                await costs_of(asks[0], forms)  # warms up: weights, grammar
            found = [await costs_of(ask, forms) for ask in asks]
            rows += [_row(events, found)] if found else []
            progress.advance()
    return rows


async def costs_of(ask: Ask[Any], forms: Forms) -> dict[str, Cost]:
    """What one ask costs in each form, in turn, so that who else computes slows both.

    The entities' vectors are made before, as in serving, where a catalogue's are made once.
    """
    await asyncio.to_thread(forms.vectors, entities_of(ask.messages))
    return {form: await cost(chat, ask) for form, chat in forms.named().items()}


def _row(events: int, found: Sequence[dict[str, Cost]]) -> dict[str, Any]:
    row: dict[str, Any] = {"history": events, "people": len(found)}
    return row | {form: medians([one[form] for one in found]) for form in FORMS}


def medians(costs: Sequence[Cost]) -> dict[str, float]:
    """prompt_tokens, prefill_s, decode_s and written of some calls, the median of each."""
    return {
        "prompt_tokens": float(np.median([one.tokens for one in costs])),
        "prefill_s": round(float(np.median([one.prefill_s for one in costs])), 4),
        "decode_s": round(float(np.median([one.decode_s for one in costs])), 4),
        "seconds": round(float(np.median([one.prefill_s + one.decode_s for one in costs])), 4),
        "written": float(np.median([one.written for one in costs])),
    }
