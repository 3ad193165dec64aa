"""Global planner: one reading of the history gives K personas (RecGPT-V2, `{p} = f(B, U, E)`)."""

from __future__ import annotations

from foretaste.agents import grounded, prompting
from foretaste.agents.asking import CheckFailed, ask_or_fall_back
from foretaste.agents.checks import about, numbers_within
from foretaste.agents.context import Reader
from foretaste.agents.objects import Persona, Step
from foretaste.agents.schemas import PlannerAnswer
from foretaste.agents.tools import Tools
from foretaste.serving.chat import Message

MAX_TOKENS = 256


def planner_messages(tools: Tools, reader: Reader) -> tuple[Message, ...]:
    """The planner's prompt: context, the newest events with their numbers, the instruction."""
    events = reader.context.events[-tools.config.history_items :]
    return prompting.messages(
        "planner",
        context=prompting.context_lines(reader.context),
        history=prompting.numbered([prompting.event_prompt(event) for event in events]),
        personas=tools.config.personas,
    )


async def plan(tools: Tools, reader: Reader, seed: int) -> tuple[list[Persona], list[Step]]:
    """Personas of this person; none, and no call, when nothing was chosen yet."""
    if not reader.context.events:
        return [], []
    personas, step = await ask_or_fall_back(
        tools.model,
        tools.config,
        node="planner",
        label="",
        messages=lambda: planner_messages(tools, reader),
        schema=PlannerAnswer,
        max_tokens=MAX_TOKENS,
        check=lambda answer: checked(answer, tools, reader),
        fallback=lambda: clustered(tools, reader),
        seed=seed,
        embeds=True,
    )
    return personas, [step]


def checked(answer: PlannerAnswer, tools: Tools, reader: Reader) -> list[Persona]:
    """The answer's personas, each with evidence that exists and that it is about."""
    events = reader.context.events[-tools.config.history_items :]
    rows = reader.rows[-tools.config.history_items :]
    named: dict[str, Persona] = {}
    evidence: list[list[int]] = []
    for one in answer.personas[: tools.config.personas]:
        places = numbers_within(one.items, len(events))
        name = prompting.clean(one.name)
        if not places:
            raise CheckFailed(f"persona {name!r} rests on no line of the history")
        if name.casefold() in named:
            raise CheckFailed(f"persona {name!r} comes twice")
        evidence.append([int(rows[place]) for place in places])
        named[name.casefold()] = Persona(
            name=name,
            description=prompting.clean(one.why, 200),
            evidence=tuple(dict.fromkeys(events[place].item_id for place in places)),
            source="model",
        )
    personas = list(named.values())
    # All texts in one pass of the embedder: three passes of one text each take twice as long.
    texts = [f"{one.name}. {one.description}" for one in personas]
    for persona, vector, own in zip(personas, tools.embedder.encode(texts), evidence, strict=True):
        if not about(vector, own, tools.vectors):
            raise CheckFailed(f"persona {persona.name!r} is not about the items it rests on")
    return personas


def clustered(tools: Tools, reader: Reader) -> list[Persona]:
    """The fallback: one persona for each cluster of the history."""
    rows = reader.rows[-tools.config.history_items :]
    groups = grounded.clusters(rows, tools.vectors, tools.lexicon.categories, tools.config.personas)
    return [
        grounded.persona(group, tools.lexicon, tools.dataset.item_ids, tools.dataset.titles)
        for group in groups
    ]
