"""Global planner: one reading of the history gives K personas (RecGPT-V2, `{p} = f(B, U, E)`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foretaste.agents.contexts.compression import Compressed, compress
from foretaste.agents.contexts.context import Reader
from foretaste.agents.contexts.counting import count_for
from foretaste.agents.objects import Persona, Step
from foretaste.agents.reasoning import grounded, tastes
from foretaste.agents.reasoning.checks import about, numbers_within
from foretaste.agents.retrieval import channels
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording import prompting
from foretaste.agents.wording.asking import CheckFailed, Repaired, ask_or_fall_back
from foretaste.agents.wording.schemas import PersonaAnswer, PlannerAnswer, with_room
from foretaste.serving.chat import Message

TOKENS_EACH = 80  # that a model may write about one persona
LATELY = 5  # newest choices that make a persona timely


def history_of(tools: Tools, reader: Reader) -> Compressed:
    """The whole history as the prompts hold it, within `config.history_tokens`."""
    return compress(
        reader.context.events,
        budget=tools.config.history_tokens,
        recent=tools.config.exact_events,
        searches=reader.context.searches,
        count=count_for(tools.model.name if tools.model else None),
        vectors=tools.config.entities == "vectors",
    )


def planner_messages(
    tools: Tools, reader: Reader, history: Compressed, wanted: int
) -> tuple[Message, ...]:
    """The planner's prompt: context, the history with its items' numbers, how many personas."""
    return prompting.messages(
        "planner",
        context=prompting.context_lines(reader.context),
        history=history.text,
        personas=wanted,
    )


async def plan(tools: Tools, reader: Reader, seed: int) -> tuple[list[Persona], list[Step]]:
    """Personas of this person; none, and no call, when nothing was chosen yet."""
    if not reader.context.events:
        return [], []
    history, grouped = history_of(tools, reader), clustered(tools, reader)
    personas, step = await ask_or_fall_back(
        tools.model,
        tools.config,
        node="planner",
        label="",
        messages=lambda: planner_messages(tools, reader, history, len(grouped)),
        schema=with_room(PlannerAnswer, tools.config.personas),
        max_tokens=TOKENS_EACH * len(grouped) + 32,
        check=lambda answer: usable(answer.personas[: len(grouped)], history, tools),
        fallback=lambda: grouped,
        seed=seed,
        embeds=True,
        meanwhile=lambda: channels.without_tags(tools, reader),
    )
    return personas, [step]


def checked(answers: Sequence[PersonaAnswer], history: Compressed, tools: Tools) -> list[Persona]:
    """The answered personas, none twice, when every one holds: what training rows are held to."""
    personas, faults = sifted(answers, history, tools)
    if faults:
        raise CheckFailed(faults[0])
    return personas


def usable(
    answers: Sequence[PersonaAnswer], history: Compressed, tools: Tools
) -> list[Persona] | Repaired[list[Persona]]:
    """The answered personas that hold, none twice; fewer than half of the answered fail it."""
    personas, faults = sifted(answers, history, tools)
    if 2 * len(faults) > len(answers):
        raise CheckFailed(f"{len(faults)} of {len(answers)} personas do not hold; {faults[0]}")
    if not faults:
        return personas
    told = "; ".join(faults)
    return Repaired(personas, f"{len(faults)} of {len(answers)} personas dropped: {told}")


def sifted(
    answers: Sequence[PersonaAnswer], history: Compressed, tools: Tools
) -> tuple[list[Persona], list[str]]:
    """Personas with evidence that exists and that they are about, none twice; the others' faults."""
    read = [_persona(one, history) for one in answers]
    faults = [
        f"persona {one.name!r} rests on no line of the history" for one in read if not one.evidence
    ]
    resting = [one for one in read if one.evidence]
    # All texts in one pass of the embedder: three passes of one text each take twice as long.
    texts = tools.embedder.encode([f"{one.name}. {one.description}" for one in resting])
    holds = np.array(
        [
            about(vector, tools.dataset.rows(list(one.evidence)), tools.vectors)
            for one, vector in zip(resting, texts, strict=True)
        ],
        dtype=bool,
    )  # (resting,)
    faults += [
        f"persona {one.name!r} is not about the items it rests on"
        for one, held in zip(resting, holds, strict=True)
        if not held
    ]
    limits = tools.config.persona_overlap, tools.config.persona_likeness
    kept = [one for one, held in zip(resting, holds, strict=True) if held]
    return tastes.without_doubles(kept, texts[holds], *limits), faults


def clustered(tools: Tools, reader: Reader) -> list[Persona]:
    """The fallback: one persona for each cluster of the history; fewer for a narrow taste.

    It also tells the model how many personas are wanted.
    """
    config = tools.config
    groups = tastes.clusters(
        reader.rows[-config.history_items :],
        tools.vectors,
        tools.lexicon.categories,
        config.personas,
        config.persona_spread * tools.variance() if config.adaptive_personas else None,
    )
    return [persona_of(tools, reader, group) for group in groups]


def persona_of(tools: Tools, reader: Reader, group: tastes.Cluster) -> Persona:
    """One group of the history as a persona."""
    lately = list(dict.fromkeys(reader.rows[::-1].tolist()))[:LATELY]
    item_ids, titles = tools.dataset.item_ids, tools.dataset.titles
    return grounded.persona(group, tools.lexicon, item_ids, titles, lately)


def _persona(answer: PersonaAnswer, history: Compressed) -> Persona:
    name = prompting.clean(answer.name)
    places = numbers_within(answer.items, len(history.item_ids))
    return Persona(
        name=name,
        description=prompting.clean(answer.why, 200),
        evidence=tuple(history.item_ids[place] for place in places),
        source="model",
        why_now=prompting.clean(answer.now),
    )
