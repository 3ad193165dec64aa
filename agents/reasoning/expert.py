"""Distributed experts: one persona gives M search tags (RecGPT-V2, `T_k = f(p_k)`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from foretaste.agents.contexts.compression import PLAIN, short_title
from foretaste.agents.contexts.context import Reader
from foretaste.agents.objects import Persona, Step, Tag, Verdict
from foretaste.agents.reasoning import grounded
from foretaste.agents.reasoning.checks import valid_tag
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording import prompting
from foretaste.agents.wording.asking import CheckFailed, Repaired, ask_or_fall_back
from foretaste.agents.wording.schemas import ExpertAnswer, with_room
from foretaste.serving.chat import Message

TOKENS_EACH = 34  # that a model may write about one tag
SPARE = 6  # tags that the grounded twin makes beyond those wanted, as some may be dropped


class Proposal(NamedTuple):
    """What one expert proposes, and what of it was dropped with the reason."""

    tags: list[Tag]
    dropped: list[Verdict]


def expert_messages(tools: Tools, reader: Reader, persona: Persona) -> tuple[Message, ...]:
    """The expert's prompt: the persona and its evidence by short names, never the history.

    What all experts read stands first, so that they share the prefix.
    """
    events = {event.item_id: event for event in reader.context.events}
    full = tools.config.entities == "vectors"  # in full it costs one vector too
    chosen = [
        prompting.entity(
            item_id,
            prompting.named(events[item_id]) if full else short_title(events[item_id].title),
        )
        for item_id in persona.evidence[: tools.config.evidence_items]
    ]
    return prompting.messages(
        "expert",
        tags=tools.config.tags,
        situation=prompting.situation_lines(reader.context),
        # The grounded planner describes a persona by its items, which follow anyway.
        persona=persona_line(persona, described=persona.source == "model"),
        evidence="; ".join(chosen),
        examples=examples(tools, persona.evidence),
    )


async def propose(
    tools: Tools, reader: Reader, persona: Persona, number: int, seed: int
) -> tuple[Proposal, list[Step]]:
    """Tags of one persona that match something and repeat nothing."""
    proposal, step = await ask_or_fall_back(
        tools.model,
        tools.config,
        node="expert",
        label=persona.name,
        messages=lambda: expert_messages(tools, reader, persona),
        schema=with_room(ExpertAnswer, tools.config.tags),
        max_tokens=TOKENS_EACH * tools.config.tags,
        check=lambda answer: completed(answer, tools, reader, persona, number),
        fallback=lambda: grounded_tags(tools, reader, persona, number, tools.config.tags),
        seed=seed,
    )
    return proposal, [step]


def checked(answer: ExpertAnswer, tools: Tools, reader: Reader, number: int) -> Proposal:
    """The answer's valid tags; fewer than `config.min_tags` fail it, as they fail a training row."""
    proposal = _answered(answer, tools, reader, number)
    enough(proposal, tools)
    return proposal


def completed(
    answer: ExpertAnswer, tools: Tools, reader: Reader, persona: Persona, number: int
) -> Proposal | Repaired[Proposal]:
    """The answer's valid tags, with grounded ones up to `config.min_tags`.

    Fewer than half of these fail it.
    """
    own = _answered(answer, tools, reader, number)
    least = min(tools.config.min_tags, tools.config.tags)
    enough(own, tools, (least + 1) // 2)
    missing = least - len(own.tags)
    if missing <= 0:
        return own
    beside = grounded_tags(tools, reader, persona, number, tools.config.tags).tags
    both = sifted([*own.tags, *beside], tools, reader).tags[:least]
    return Repaired(
        Proposal(both, own.dropped),
        f"{len(own.tags)} valid tags, {len(both) - len(own.tags)} added",
    )


def enough(proposal: Proposal, tools: Tools, least: int | None = None) -> None:
    """Refuse an answer with fewer than `least` valid tags, `config.min_tags` where none is said."""
    found = len(proposal.tags)
    if found < (least or min(tools.config.min_tags, tools.config.tags)):
        problems = "; ".join(verdict.reason for verdict in proposal.dropped[:2])
        raise CheckFailed(f"{found} valid tags; {problems}")


def grounded_tags(
    tools: Tools, reader: Reader, persona: Persona, number: int, wanted: int
) -> Proposal:
    """The fallback: `wanted` tags made of the evidence's distinctive words and categories."""
    rows = tools.dataset.rows(list(persona.evidence))
    made = grounded.tags(rows, tools.lexicon, reader.allowed, wanted + SPARE, number)
    proposal = sifted(made, tools, reader)
    return Proposal(proposal.tags[:wanted], proposal.dropped)


def sifted(tags: Iterable[Tag], tools: Tools, reader: Reader) -> Proposal:
    """Tags that match an item that may be shown and say something new; the others with the reason."""
    recent, taken = recent_rows(tools, reader), set[str]()
    proposal = Proposal([], [])
    for tag in tags:
        try:
            taken.add(valid_tag(tag.text, tools.lexicon, reader.allowed, taken, recent))
        except CheckFailed as problem:
            reason = str(problem)
            proposal.dropped.append(Verdict(tag=tag, kept=False, reason=reason, source=tag.source))
        else:
            proposal.tags.append(tag)
    return proposal


def recent_rows(tools: Tools, reader: Reader) -> list[int]:
    """Rows of the newest `config.recent_items` things chosen on purpose; all kinds where none was."""
    events = reader.context.events
    chosen = [
        int(row) for row, event in zip(reader.rows, events, strict=True) if event.event not in PLAIN
    ]
    newest = list(dict.fromkeys((chosen or reader.rows.tolist())[::-1]))
    return newest[: tools.config.recent_items]


def _answered(answer: ExpertAnswer, tools: Tools, reader: Reader, number: int) -> Proposal:
    """An answer's valid tags, at most `config.tags`, and what was dropped."""
    tags = (
        Tag(
            text=prompting.clean(one.tag),
            persona=number,
            reason=prompting.clean(one.why, 120),
            source="model",
        )
        for one in answer.tags
    )
    proposal = sifted(tags, tools, reader)
    return Proposal(proposal.tags[: tools.config.tags], proposal.dropped)


def persona_line(persona: Persona, *, described: bool = True) -> str:
    """A persona as one line of a prompt, with its description or without."""
    said = f": {prompting.clean(persona.description)}" if described else "."
    now = f" Now: {prompting.clean(persona.why_now)}" if persona.why_now else ""
    return f"{prompting.clean(persona.name)}{said}{now}"


def examples(tools: Tools, evidence: Iterable[str]) -> str:
    """A tag of a word that the catalogue knows and that fits the items, so that the form is clear."""
    rows = tools.dataset.rows(list(evidence))
    names = grounded.distinctive(tools.lexicon.categories, rows, 1)
    names = names or grounded.distinctive(tools.lexicon.words, rows, 1)
    return f'"light {prompting.clean(names[0], 30)}"' if names else '"light snack"'
