"""One honest sentence an item: all items at once, each sentence held against the facts."""

from __future__ import annotations

import asyncio

import numpy as np

from foretaste.agents import grounded, prompting
from foretaste.agents.asking import ask_or_fall_back
from foretaste.agents.checks import grounded_sentence
from foretaste.agents.context import Reader
from foretaste.agents.objects import Recommendation, Step
from foretaste.agents.schemas import ExplainerAnswer
from foretaste.agents.tools import Tools
from foretaste.serving.chat import Message

MAX_TOKENS = 64
LATELY = 8  # newest events that an explanation may name


def explainer_messages(tools: Tools, reader: Reader, item: Recommendation) -> tuple[Message, ...]:
    """The explainer's prompt: what was chosen lately, the item, and why it was found."""
    row = tools.dataset.row_of[item.item_id]
    categories = ", ".join(tools.dataset.categories_of(row))
    return prompting.messages(
        "explainer",
        context=prompting.context_lines(reader.context),
        history=prompting.numbered(
            [prompting.event_prompt(event) for event in reader.context.events[-LATELY:]]
        ),
        item=prompting.entity(
            item.item_id,
            prompting.clean(item.title)
            + (f" ({prompting.clean(categories)})" if categories else ""),
        ),
        because=_because(item),
    )


async def explain(
    tools: Tools, reader: Reader, page: list[Recommendation], seed: int
) -> tuple[list[Recommendation], list[Step]]:
    """The page with a sentence on every item."""
    done = await asyncio.gather(*(_explain_one(tools, reader, item, seed) for item in page))
    explained = [
        item.model_copy(update={"explanation": text})
        for item, (text, _) in zip(page, done, strict=True)
    ]
    return explained, [step for _, step in done]


async def _explain_one(
    tools: Tools, reader: Reader, item: Recommendation, seed: int
) -> tuple[str, Step]:
    row = tools.dataset.row_of[item.item_id]
    lately = [int(other) for other in reader.rows[-LATELY:]]
    return await ask_or_fall_back(
        tools.model,
        tools.config,
        node="explainer",
        label=item.title,
        messages=lambda: explainer_messages(tools, reader, item),
        schema=ExplainerAnswer,
        max_tokens=MAX_TOKENS,
        check=lambda answer: grounded_sentence(
            prompting.clean(answer.text, 200),
            tools.lexicon,
            row,
            lately,
            prompting.context_lines(reader.context),
        ),
        fallback=lambda: _facts(tools, reader, item),
        seed=seed,
    )


def _facts(tools: Tools, reader: Reader, item: Recommendation) -> str:
    """The fallback sentence, from what the item shares with its nearest history item."""
    row = tools.dataset.row_of[item.item_id]
    own = [prompting.clean(name) for name in tools.dataset.categories_of(row)]
    tag = prompting.clean(item.tags[0]) if item.channel == "tags" else None
    wish = item.channel == "wish"
    title = prompting.clean(item.title)
    if not len(reader.rows):
        return grounded.sentence(title, own, tag=tag, wish=wish)
    nearest = int(reader.rows[int(np.argmax(tools.vectors[reader.rows] @ tools.vectors[row]))])
    theirs = {prompting.clean(name) for name in tools.dataset.categories_of(nearest)}
    return grounded.sentence(
        title,
        own,
        nearest=prompting.clean(tools.dataset.titles[nearest]),
        shared=[name for name in own if name in theirs],
        tag=tag,
        wish=wish,
    )


def _because(item: Recommendation) -> str:
    if item.tags:
        return "the tags " + ", ".join(prompting.clean(tag) for tag in item.tags)
    if item.channel == "wish":
        return "the wish"
    return "people who chose the same items also chose it"
