"""A language model that answers at once: what stays is the time of everything around the model.

It stands behind `ChatModel` in `foretaste bench serving` only. Its answers are built from the items
that its prompt names, so that they pass the agents' checks and the whole graph runs, and each is new
to the embedder as a real model's would be.
"""

from __future__ import annotations

import itertools
from typing import Any

from foretaste.agents.schemas import ArbiterAnswer, ExpertAnswer, PlannerAnswer
from foretaste.serving.chat import Answer, Ask, Entity, Parsed, Usage

PERSONAS, ITEMS_EACH, TAGS, KEPT = 3, 4, 6, 8


class InstantModel:
    """Answers from the entities of the prompt, in no time."""

    name = "instant"

    async def ask(self, ask: Ask[Parsed]) -> Answer[Parsed]:
        """An object of the schema; usage is zero."""
        said = ask.schema.model_validate(_said(ask))
        return Answer(said, said.model_dump_json(), Usage())

    async def close(self) -> None:
        """Nothing is held."""


def _said(ask: Ask[Any]) -> dict[str, Any]:
    texts = [part.text for turn in ask.messages for part in turn.parts if isinstance(part, Entity)]
    if ask.schema is PlannerAnswer:
        return {"personas": _personas(texts)}
    if ask.schema is ExpertAnswer:
        return {"tags": [{"tag": tag, "why": "it fits"} for tag in _tags(texts)]}
    if ask.schema is ArbiterAnswer:
        return {"keep": [{"tag": n, "why": "close"} for n in range(1, KEPT + 1)]}
    return {"text": f"It is close to {_short(texts[0])}."}


def _short(text: str) -> str:
    """The first words of a title."""
    return " ".join(text.split(" (")[0].split()[:4])[:30]


def _personas(texts: list[str]) -> list[dict[str, Any]]:
    groups = [texts[first::PERSONAS][-ITEMS_EACH:] for first in range(PERSONAS)]
    return [
        {
            "name": f"{_short(group[-1])} {number}",
            "why": "; ".join(group)[:120],
            "items": [texts.index(text) + 1 for text in group],
        }
        for number, group in enumerate(groups)
        if group
    ]


def _tags(texts: list[str]) -> list[str]:
    """Pairs of words of the named items, first and last of each."""
    words = [[word.strip("(),.:'\"") for word in text.split()] for text in texts]
    pairs = itertools.product(words, words)
    made = (f"{one[-1]} {other[0]}".lower()[:40] for one, other in pairs)
    return list(itertools.islice(dict.fromkeys(made), TAGS))
