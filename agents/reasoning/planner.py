"""Global planner: one reading of the history gives K personas (RecGPT-V2, `{p} = f(B, U, E)`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.contexts.compression import Compressed, compress
from foretaste.agents.contexts.context import Reader
from foretaste.agents.contexts.counting import count_for
from foretaste.agents.contexts.liking import tastes_of
from foretaste.agents.objects import Persona, Step
from foretaste.agents.reasoning import grounded, tastes
from foretaste.agents.reasoning.checks import about, numbers_within
from foretaste.agents.retrieval import channels
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording import prompting
from foretaste.agents.wording.asking import CheckFailed, Repaired, ask_or_fall_back
from foretaste.agents.wording.schemas import PersonaAnswer, PlannerAnswer, cut_to, with_room
from foretaste.serving.chat import Message

TOKENS_EACH = 80  # that a model may write about one persona
LATELY = 5  # newest choices that make a persona timely


def history_of(tools: Tools, reader: Reader) -> Compressed:
    """The history as the prompts hold it, within `config.history_tokens`; see `liking.tastes_of`."""
    shown = tastes_of(tools.dataset, reader).context
    return compress(
        shown.events,
        budget=tools.config.history_tokens,
        recent=tools.config.exact_events,
        searches=shown.searches,
        count=count_for(tools.model.name if tools.model else None),
        vectors=tools.config.entities == "vectors",
    )


def planner_messages(reader: Reader, history: Compressed, wanted: int) -> tuple[Message, ...]:
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
    wanted, most = max(1, len(listed(grouped, history))), tools.config.personas
    personas, step = await ask_or_fall_back(
        tools.model,
        tools.config,
        node="planner",
        label="",
        messages=lambda: planner_messages(reader, history, wanted),
        # A small model may tell of more than were asked for: there is room, and the first are taken.
        schema=cut_to(with_room(PlannerAnswer, most), most),
        max_tokens=TOKENS_EACH * most + 32,
        check=lambda answer: usable(answer.personas[:wanted], history, grouped, tools),
        fallback=lambda: grouped,
        seed=seed,
        embeds=True,
        meanwhile=lambda: channels.without_tags(tools, reader),
    )
    return personas, [step]


def listed(personas: Sequence[Persona], history: Compressed) -> list[Persona]:
    """The personas that rest on something which the prompt lists: a model can find no others."""
    ids = set(history.item_ids)
    return [one for one in personas if ids.intersection(one.evidence)]


def checked(answers: Sequence[PersonaAnswer], history: Compressed, tools: Tools) -> list[Persona]:
    """The answered personas, none twice, when every one holds: what training rows are held to."""
    personas, faults = sifted(answers, history, tools)
    if faults:
        raise CheckFailed(faults[0])
    return personas


def usable(
    answers: Sequence[PersonaAnswer],
    history: Compressed,
    grouped: Sequence[Persona],
    tools: Tools,
) -> list[Persona] | Repaired[list[Persona]]:
    """The answered personas that hold, none twice; an answer without any fails.

    Where one was dropped, grounded personas stand for the sides of the history that are left.
    """
    personas, faults = sifted(answers, history, tools)
    if not personas:
        raise CheckFailed(f"none of {len(answers)} personas holds; {faults[0]}")
    if not faults:
        return personas
    both = tastes.without_doubles(
        [*personas, *grouped], _texts(tools, [*personas, *grouped]), *_limits(tools)
    )[: max(len(personas), len(grouped))]
    told = f"{len(faults)} of {len(answers)} personas dropped, {len(both) - len(personas)} added"
    return Repaired(both, f"{told}; {'; '.join(faults)}")


def sifted(
    answers: Sequence[PersonaAnswer], history: Compressed, tools: Tools
) -> tuple[list[Persona], list[str]]:
    """Personas with evidence that exists and that they are about, none twice; the others' faults."""
    read = [_persona(one, history) for one in answers]
    faults = [
        f"persona {one.name!r} rests on no line of the history" for one in read if not one.evidence
    ]
    resting = [one for one in read if one.evidence]
    texts = _texts(tools, resting)
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
    kept = [one for one, held in zip(resting, holds, strict=True) if held]
    return tastes.without_doubles(kept, texts[holds], *_limits(tools)), faults


def clustered(tools: Tools, reader: Reader) -> list[Persona]:
    """The fallback: one persona for each cluster of the history; fewer for a narrow taste.

    What was rated low is in none of them (`liking.tastes_of`). It also tells the model how many
    personas are wanted.
    """
    config = tools.config
    groups = tastes.clusters(
        tastes_of(tools.dataset, reader).rows[-config.history_items :],
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


def _texts(tools: Tools, personas: Sequence[Persona]) -> NDArray[np.float32]:
    """(personas, d) what they say, in one pass of the embedder: three of one text take twice as long."""
    return tools.embedder.encode([f"{one.name}. {one.description}" for one in personas])


def _limits(tools: Tools) -> tuple[float, float]:
    """Shared evidence and likeness from which two personas are one."""
    return tools.config.persona_overlap, tools.config.persona_likeness


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
