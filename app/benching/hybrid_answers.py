"""What both forms answer: attributes of items, and whether they find the same personas."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, create_model

from foretaste.agents.objects import Persona
from foretaste.data.dataset import Dataset
from foretaste.data.errors import UnreadableAnswer
from foretaste.data.progress import meter
from foretaste.finetune.adaptor.config import AdaptorConfig
from foretaste.finetune.adaptor.rows import Known, held_out, known_items, question
from foretaste.serving.chat import Ask, ChatModel
from foretaste.serving.embedder import Embedder

OPTIONS = 4  # values that an answer is chosen from
_AT_ONCE = 16


class Asked(NamedTuple):
    """One question about one item, with the right answer."""

    ask: Ask[Any]
    right: str


def attribute_questions(
    dataset: Dataset, count: int, adapter: str | None, deadline_s: float, seed: int
) -> list[Asked]:
    """Questions about items that no adaptor was trained on, each with four possible values.

    The other three are values of other items, drawn as often as items have them. An item is asked
    about only what stands in its text.

    Args:
        dataset: the catalogue.
        count: questions, at most.
        adapter: LoRA adapter that is asked.
        deadline_s: of a call.
        seed: of the choice.
    """
    items = known_items(dataset)
    kept = held_out(len(items), AdaptorConfig().held_out, 0)
    draw = np.random.default_rng([seed, 13])
    values: dict[str, list[str]] = {}
    for one in items:
        for name, value in one.facts.items():
            values.setdefault(name, []).append(value)
    made: list[Asked] = []
    for row in draw.permutation(np.flatnonzero(kept)).tolist():
        if len(made) < count and items[row].facts:
            made += _asked(items[row], values, adapter, deadline_s, draw)
    return made


def _asked(
    item: Known,
    values: dict[str, list[str]],
    adapter: str | None,
    deadline_s: float,
    draw: np.random.Generator,
) -> list[Asked]:
    names = sorted(item.facts)
    name = names[int(draw.integers(len(names)))]
    right, others = item.facts[name], set[str]()
    for value in draw.choice(values[name], min(200, len(values[name])), replace=False).tolist():
        if value != right and len(others) < OPTIONS - 1:
            others.add(value)
    if len(others) < OPTIONS - 1:
        return []
    only = Known(item.entity, item.short, {name: right})
    row = question([only], [False], "value", draw)
    schema = _schema(tuple(sorted([right, *others])))
    ask = Ask(row.messages, schema, max_tokens=96, adapter=adapter, deadline_s=deadline_s)
    return [Asked(ask, right)]


@cache
def _schema(options: tuple[str, ...]) -> type[BaseModel]:
    one: Any = Literal[options]
    values: Any = (list[one], Field(min_length=1, max_length=1))
    return create_model("Values", values=values)


async def right_answers(chat: ChatModel, questions: Sequence[Asked]) -> NDArray[np.float64]:
    """(questions,) 1 where the chosen value is the right one."""
    places = asyncio.Semaphore(_AT_ONCE)
    with meter("Asking for attributes", len(questions), "questions") as progress:

        async def one(asked: Asked) -> float:
            async with places:
                try:
                    said = (await chat.ask(asked.ask)).parsed.values[0]
                except UnreadableAnswer:
                    said = None
            progress.advance()
            return float(said == asked.right)

        return np.array(await asyncio.gather(*(one(asked) for asked in questions)))


def agreement(
    text: Sequence[Persona], hybrid: Sequence[Persona], embedder: Embedder
) -> tuple[float, float] | None:
    """How alike the personas of two forms are: mean cosine of names and descriptions, and mean
    share of evidence items in common (Jaccard), each persona with the most similar one.

    Both directions count. None where a form has none.
    """
    if not text or not hybrid:
        return None
    said = [embedder.encode([f"{p.name}. {p.description}" for p in own]) for own in (text, hybrid)]
    likeness = said[0] @ said[1].T  # (text, hybrid)
    pairs = [(a, int(b)) for a, b in enumerate(likeness.argmax(axis=1))]
    pairs += [(int(a), b) for b, a in enumerate(likeness.argmax(axis=0))]
    shared = [_jaccard(text[a].evidence, hybrid[b].evidence) for a, b in pairs]
    return float(np.mean([likeness[pair] for pair in pairs])), float(np.mean(shared))


def _jaccard(one: Sequence[str], other: Sequence[str]) -> float:
    either = set(one) | set(other)
    return len(set(one) & set(other)) / len(either) if either else 1.0
