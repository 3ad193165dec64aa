"""One prompt for everything: the tags straight from the history, each with its persona's name."""

from __future__ import annotations

from foretaste.agents.contexts.context import Reader
from foretaste.agents.contexts.liking import tastes_of
from foretaste.agents.objects import Persona, Step, Tag, Verdict
from foretaste.agents.reasoning import expert, planner, tastes
from foretaste.agents.reasoning.expert import Proposal
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording import prompting
from foretaste.agents.wording.asking import ask_or_fall_back
from foretaste.agents.wording.schemas import SingleAnswer, with_room
from foretaste.serving.chat import Message


def single_messages(tools: Tools, reader: Reader) -> tuple[Message, ...]:
    """The one prompt: context, history, instruction."""
    lately = [event.item_id for event in reader.context.events[: -planner.LATELY - 1 : -1]]
    return prompting.messages(
        "single",
        context=prompting.context_lines(reader.context),
        history=planner.history_of(tools, reader).text,
        tags=tools.config.kept,
        examples=expert.examples(tools, lately),
    )


async def answer(
    tools: Tools, reader: Reader, seed: int
) -> tuple[list[Persona], list[Verdict], list[Step]]:
    """Personas and a verdict on every tag; nothing, and no call, when nothing was chosen yet."""
    if not reader.context.events:
        return [], [], []
    (personas, proposal), step = await ask_or_fall_back(
        tools.model,
        tools.config,
        node="single",
        label="",
        messages=lambda: single_messages(tools, reader),
        schema=with_room(SingleAnswer, tools.config.kept),
        max_tokens=(expert.TOKENS_EACH + 8) * tools.config.kept,
        check=lambda said: checked(said, tools, reader),
        fallback=lambda: grounded_answer(tools, reader),
        seed=seed,
        embeds=True,
    )
    return personas, kept(proposal), [step]


def kept(proposal: Proposal) -> list[Verdict]:
    """The tags as they are, and what was dropped."""
    reason = "one prompt chose it"
    return [
        Verdict(tag=tag, kept=True, reason=reason, source=tag.source) for tag in proposal.tags
    ] + proposal.dropped


def checked(said: SingleAnswer, tools: Tools, reader: Reader) -> tuple[list[Persona], Proposal]:
    """The valid tags and the personas that they name, which rest on no items of their own."""
    names = list(dict.fromkeys(prompting.clean(one.persona) for one in said.tags))
    tags = (
        Tag(
            text=prompting.clean(one.tag),
            persona=names.index(prompting.clean(one.persona)),
            reason=prompting.clean(one.why, 120),
            source="model",
        )
        for one in said.tags
    )
    proposal = expert.sifted(tags, tools, reader)
    expert.enough(proposal, tools)
    personas = [Persona(name=name, description="", evidence=(), source="model") for name in names]
    return personas, proposal


def grounded_answer(tools: Tools, reader: Reader) -> tuple[list[Persona], Proposal]:
    """The fallback: the same for the whole recent history as for one persona of it."""
    rows = tastes_of(tools.dataset, reader).rows[-tools.config.history_items :]
    group = tastes.clusters(rows, tools.vectors, tools.lexicon.categories, 1)
    persona = planner.persona_of(tools, reader, group[0])
    return [persona], expert.grounded_tags(tools, reader, persona, 0, tools.config.kept)
