"""A language model that answers at once: what stays is the time of everything around the model.

It stands behind `ChatModel` in `foretaste bench serving` only. Its answers are built from the items
that its prompt names, so that they pass the agents' checks and the whole graph runs, and each is new
to the embedder as a real model's would be.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from typing import Any

from foretaste.agents.wording.schemas import (
    ArbiterAnswer,
    ExpertAnswer,
    PlannerAnswer,
    StyleAnswer,
)
from foretaste.serving.chat import Answer, Ask, Entity, Parsed, Usage, entities_of

PERSONAS, ITEMS_EACH, TAGS, KEPT = 3, 4, 6, 8
_EXAMPLE = re.compile(r'"light ([^"]+)"')
_NUMBER = re.compile(r"(\d+)[.:)]? $")


class InstantModel:
    """Answers from the entities of the prompt, at once or after the same time always.

    Args:
        takes_s: seconds that every answer takes.
    """

    name = "instant"

    def __init__(self, takes_s: float = 0.0) -> None:
        self._takes_s = takes_s
        self._calls: list[float] = []  # when each began

    async def ask(self, ask: Ask[Parsed]) -> Answer[Parsed]:
        """An object of the schema; usage is zero."""
        said = ask.schema.model_validate(_said(ask))
        self._calls.append(time.perf_counter())
        if self._takes_s:
            await asyncio.sleep(self._takes_s)
        return Answer(said, said.model_dump_json(), Usage())

    def busy_s(self) -> float:
        """Seconds during which it had a call to answer since this was asked last.

        Calls at the same time count once. A call lasts `takes_s`: what the caller takes longer to
        notice its answer is the caller's.
        """
        spent, until = 0.0, 0.0
        for began in sorted(self._calls):
            spent += max(0.0, began + self._takes_s - max(until, began))
            until = max(until, began + self._takes_s)
        self._calls.clear()
        return spent

    async def close(self) -> None:
        """Nothing is held."""


def _said(ask: Ask[Any]) -> dict[str, Any]:
    named = _named(ask)
    if issubclass(ask.schema, PlannerAnswer):
        return {"personas": _personas(named)}
    if issubclass(ask.schema, ExpertAnswer):
        return {"tags": [{"tag": tag, "why": "it fits"} for tag in _tags(ask)]}
    if issubclass(ask.schema, ArbiterAnswer):
        return {"keep": [{"tag": n, "why": "close"} for n in range(1, KEPT + 1)]}
    if issubclass(ask.schema, StyleAnswer):
        return {"tone": "plain", "first": ["relevance"], "avoid": "superlatives"}
    sentences = [
        {"item": number, "text": f"{_short(text)} is close to what you chose."}
        for number, text in named.items()
    ]
    return {"sentences": sentences}


def _named(ask: Ask[Any]) -> dict[int, str]:
    """Number → text of the items that the prompt numbers."""
    found: dict[int, str] = {}
    before = ""
    for part in (part for turn in ask.messages for part in turn.parts):
        if isinstance(part, Entity):
            number = _NUMBER.search(before)
            if number:
                found.setdefault(int(number[1]), part.text)
        before = part if isinstance(part, str) else ""
    return found


def _short(text: str) -> str:
    """The first words of a title."""
    return " ".join(text.split(" (")[0].split()[:4])[:30]


def _personas(named: dict[int, str]) -> list[dict[str, Any]]:
    numbers = list(named)
    groups = [numbers[first::PERSONAS][-ITEMS_EACH:] for first in range(PERSONAS)]
    return [
        {
            "name": f"{_short(named[group[-1]])} {place}",
            "why": "; ".join(named[number] for number in group)[:120],
            "items": group,
        }
        for place, group in enumerate(groups)
        if group
    ]


def _tags(ask: Ask[Any]) -> list[str]:
    """The prompt's own example categories, each after a word of the items that it names."""
    cores = _EXAMPLE.findall(ask.messages[-1].text) or [""]
    texts = [entity.text for entity in entities_of(ask.messages)]
    words = [word.strip("(),.:'\"") for text in texts for word in text.split()[:2]]
    made = (f"{word} {core}".lower()[:40] for core in cores for word in words)
    return list(itertools.islice(dict.fromkeys(made), TAGS))
