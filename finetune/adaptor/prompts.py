"""Production alignment: the planner's and the experts' own prompts about training histories."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from foretaste.agents.config import AgentsConfig
from foretaste.agents.contexts import context
from foretaste.agents.objects import Request
from foretaste.agents.reasoning import expert, planner
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording.lexicon import Lexicon
from foretaste.agents.wording.schemas import ExpertAnswer, PlannerAnswer, with_room
from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError
from foretaste.data.histories import Histories
from foretaste.serving.chat import Ask
from foretaste.serving.embedder import Embedder
from foretaste.serving.index.opened import open_index
from foretaste.serving.rules.select import best_untrained

FEWEST = 3  # events of a history that is asked about


class Prompt(NamedTuple):
    """One ask of an agent.

    Attributes:
        agent: whose prompt it is, for records.
        history: number of the training history.
        ask: as it is sent to the engine.
    """

    agent: str
    history: int
    ask: Ask[PlannerAnswer] | Ask[ExpertAnswer]


def prompts_of(
    dataset: Dataset, train: Histories, embedder: Embedder, count: int, events: int, seed: int
) -> list[Prompt]:
    """Two prompts for each of `count` histories: the planner's, and one of its experts'.

    The history is written as hybrid prompts write it: every event in full, one a line. Personas are
    those of the grounded planner that rest on something listed, so that no answer is needed to write the
    expert's prompt; a history that lists nothing of them is left out.

    Args:
        dataset: the catalogue.
        train: training events, which end before those that validate and test.
        embedder: of the personas' clusters.
        count: of histories, drawn with `seed`; fewer when there are not so many.
        events: newest events that are told, at most; each history is told a random number of them.
        seed: of the draw.

    Raises:
        InputError: no history is long enough.
    """
    draw = np.random.default_rng([seed, 11])
    enough = np.flatnonzero(train.lengths >= FEWEST)
    if not len(enough):
        raise InputError(
            f"An adaptor is aligned on histories of {FEWEST} events or more, and {dataset.name} has "
            "none; import more interactions."
        )
    tools, made = _tools(dataset, embedder), []
    for number in draw.permutation(enough)[:count].tolist():
        newest = int(draw.integers(FEWEST, max(events, FEWEST) + 1))
        ids = tuple(dataset.item_ids[row] for row in train[number][-newest:])
        made += _both(tools, ids, number, draw)
    return made


def _tools(dataset: Dataset, embedder: Embedder) -> Tools:
    index = open_index(dataset, embedder)
    return Tools(
        dataset=dataset,
        config=AgentsConfig(entities="vectors"),
        lexicon=Lexicon(dataset.items),
        embedder=embedder,
        vectors=index.vectors_of(range(len(dataset.item_ids))),
        index=index,
        rule=best_untrained(dataset),
    )


def _both(
    tools: Tools, ids: tuple[str, ...], number: int, draw: np.random.Generator
) -> list[Prompt]:
    reader = context.read(tools.dataset, Request(history=ids, environment=()))
    history = planner.history_of(tools, reader)
    personas = planner.listed(planner.clustered(tools, reader), history)
    if not personas:
        return []
    first = Ask(
        planner.planner_messages(reader, history, len(personas)),
        with_room(PlannerAnswer, tools.config.personas),
        max_tokens=planner.TOKENS_EACH * len(personas) + 32,
    )
    persona = personas[int(draw.integers(len(personas)))]
    second = Ask(
        expert.expert_messages(tools, reader, persona),
        with_room(ExpertAnswer, tools.config.tags),
        max_tokens=expert.TOKENS_EACH * tools.config.tags,
    )
    return [Prompt("planner", number, first), Prompt("expert", number, second)]


def shortened(prompt: Prompt, tokens: int) -> Prompt:
    """The same prompt with room for so many tokens of an answer, at most."""
    ask = replace(prompt.ask, max_tokens=min(prompt.ask.max_tokens, tokens))
    return prompt._replace(ask=ask)
