"""Distributed experts: one persona gives M search tags (RecGPT-V2, `T_k = f(p_k)`)."""

from __future__ import annotations

from foretaste.agents import grounded, prompting
from foretaste.agents.asking import CheckFailed, ask_or_fall_back
from foretaste.agents.checks import valid_tag
from foretaste.agents.context import Reader
from foretaste.agents.lexicon import words
from foretaste.agents.objects import Persona, Step, Tag
from foretaste.agents.schemas import ExpertAnswer
from foretaste.agents.tools import Tools
from foretaste.serving.chat import Message

MAX_TOKENS = 200


def expert_messages(tools: Tools, reader: Reader, persona: Persona) -> tuple[Message, ...]:
    """The expert's prompt: the persona and its evidence, never the whole history."""
    by_id = {event.item_id: event for event in reader.context.events}
    lines = [
        prompting.event_prompt(by_id[item_id])
        for item_id in persona.evidence[: tools.config.evidence_items]
    ]
    return prompting.messages(
        "expert",
        context=prompting.context_lines(reader.context),
        persona=f"{prompting.clean(persona.name)}: {prompting.clean(persona.description, 200)}",
        evidence=prompting.numbered(lines),
        tags=tools.config.tags,
        examples=_examples(tools, persona),
    )


async def propose(
    tools: Tools, reader: Reader, persona: Persona, number: int, seed: int
) -> tuple[list[Tag], list[Step]]:
    """Tags of one persona that match something and repeat nothing."""
    tags, step = await ask_or_fall_back(
        tools.model,
        tools.config,
        node="expert",
        label=persona.name,
        messages=lambda: expert_messages(tools, reader, persona),
        schema=ExpertAnswer,
        max_tokens=MAX_TOKENS,
        check=lambda answer: checked(answer, tools, reader, number),
        fallback=lambda: grounded_tags(tools, reader, persona, number),
        seed=seed,
    )
    return tags, [step]


def checked(answer: ExpertAnswer, tools: Tools, reader: Reader, number: int) -> list[Tag]:
    """The answer's valid tags; fewer than `config.min_tags` fail it."""
    taken = {" ".join(sorted(set(words(tools.dataset.titles[row])))) for row in reader.rows[-50:]}
    valid: list[Tag] = []
    problems: list[str] = []
    for one in answer.tags:
        text = prompting.clean(one.tag)
        try:
            taken.add(valid_tag(text, tools.lexicon, reader.allowed, taken))
        except CheckFailed as problem:
            problems.append(str(problem))
            continue
        reason = prompting.clean(one.why, 120)
        valid.append(Tag(text=text, persona=number, reason=reason, source="model"))
    if len(valid) < min(tools.config.min_tags, tools.config.tags):
        raise CheckFailed(f"{len(valid)} valid tags; {'; '.join(problems[:2])}")
    return valid[: tools.config.tags]


def grounded_tags(tools: Tools, reader: Reader, persona: Persona, number: int) -> list[Tag]:
    """The fallback: tags made of the evidence's distinctive words and categories."""
    rows = tools.dataset.rows(list(persona.evidence))
    return grounded.tags(rows, tools.lexicon, reader.allowed, tools.config.tags, number)


def _examples(tools: Tools, persona: Persona) -> str:
    """Two words that the catalogue knows and that fit the persona, so that the form is clear."""
    rows = tools.dataset.rows(list(persona.evidence))
    names = grounded.distinctive(tools.lexicon.categories, rows, 2)
    names = names or grounded.distinctive(tools.lexicon.words, rows, 2)
    return " or ".join(f'"light {prompting.clean(name, 30)}"' for name in names) or '"light snack"'
