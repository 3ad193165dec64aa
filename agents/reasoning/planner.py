"""Global planner: one reading of the history gives K personas (RecGPT-V2, `{p} = f(B, U, E)`)."""

from __future__ import annotations

from collections.abc import Sequence

from foretaste.agents.contexts.compression import Compressed, compress
from foretaste.agents.contexts.context import Reader
from foretaste.agents.contexts.counting import count_for
from foretaste.agents.objects import Persona, Step
from foretaste.agents.reasoning import grounded, tastes
from foretaste.agents.reasoning.checks import about, numbers_within
from foretaste.agents.retrieval import channels
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording import prompting
from foretaste.agents.wording.asking import CheckFailed, ask_or_fall_back
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
        check=lambda answer: checked(answer.personas[: len(grouped)], history, tools),
        fallback=lambda: grouped,
        seed=seed,
        embeds=True,
        meanwhile=lambda: channels.without_tags(tools, reader),
    )
    return personas, [step]


def checked(answers: Sequence[PersonaAnswer], history: Compressed, tools: Tools) -> list[Persona]:
    """The answered personas, each with evidence that exists and that it is about, none twice."""
    personas = [_persona(one, history) for one in answers]
    # All texts in one pass of the embedder: three passes of one text each take twice as long.
    texts = tools.embedder.encode([f"{one.name}. {one.description}" for one in personas])
    for persona, vector in zip(personas, texts, strict=True):
        if not about(vector, tools.dataset.rows(list(persona.evidence)), tools.vectors):
            raise CheckFailed(f"persona {persona.name!r} is not about the items it rests on")
    limits = tools.config.persona_overlap, tools.config.persona_likeness
    return tastes.without_doubles(personas, texts, *limits)


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
    if not places:
        raise CheckFailed(f"persona {name!r} rests on no line of the history")
    return Persona(
        name=name,
        description=prompting.clean(answer.why, 200),
        evidence=tuple(history.item_ids[place] for place in places),
        source="model",
        why_now=prompting.clean(answer.now),
    )
