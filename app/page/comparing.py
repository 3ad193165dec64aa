"""Behind the Compare tab: the same people under two settings, and what differs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from foretaste.agents.objects import Request
from foretaste.agents.recommend import recommend
from foretaste.agents.retrieval.tools import Tools
from foretaste.app.api.service import Service
from foretaste.data.errors import InputError
from foretaste.judge.agent import AgentJudge
from foretaste.judge.batch.recommended import cases_of, whole
from foretaste.judge.config import JudgeConfig
from foretaste.judge.graph import Bench
from foretaste.judge.objects import Pair, Preference
from foretaste.judge.ranking.bootstrap import interval, resampled_means
from foretaste.judge.ranking.lists import diversity
from foretaste.judge.records import Records
from foretaste.judge.rubric import load_rubric

MODEL, GROUNDED = "language model", "grounded, without the model"
FIGURES = ("hit@10", "ndcg@10", "diversity", "seconds", "tokens read", "tokens written")
RESAMPLES = 1000
N = 10


@dataclass(frozen=True)
class Setting:
    """One side of a comparison: who answers, on which way, with which adapter, from which form."""

    answers: str
    mode: Any
    adapter: str
    entities: Any

    def over(self, service: Service) -> Tools:
        """The tools of a service under this setting.

        Raises:
            InputError: the model is wanted and there is none.
        """
        tools = service.live.tools.with_model(service.engine.model)
        if self.answers == GROUNDED:
            return tools.with_model(None)
        if tools.model is None:
            raise InputError("This server has no model; compare grounded ways, or start one.")
        changes = {"adapter": self.adapter.strip() or None, "entities": self.entities}
        return replace(tools, config=tools.config.model_copy(update=changes))


@dataclass(frozen=True)
class Met:
    """One person under both settings.

    Attributes:
        user_id: who.
        held: the newest item, kept out of the history; what the pages should have.
        results: of `agents.recommend.recommend`, first and second.
    """

    user_id: str
    held: str
    results: tuple[dict[str, Any], dict[str, Any]]


def sampled(service: Service, count: int, seed: int = 0) -> list[str]:
    """Users with three events or more, drawn at random.

    Raises:
        InputError: there is none.
    """
    dataset = service.live.tools.dataset
    fit = np.flatnonzero(dataset.histories.lengths >= 3)
    if not len(fit):
        raise InputError("Nobody here has three events, which a comparison needs.")
    draw = np.random.default_rng(seed).permutation(fit)[:count]
    return [dataset.user_ids[at] for at in draw]


async def compared(
    service: Service, sides: tuple[Setting, Setting], users: list[str]
) -> AsyncGenerator[Met]:
    """Each user under both settings, one after the other; their newest item is kept out.

    Raises:
        ForetasteError: a setting cannot be run.
    """
    tools = [side.over(service) for side in sides]
    for user_id in users:
        events = [one["item_id"] for one in service.live.tools.dataset.events_of(user_id)]
        items = [item_id for item_id in events if item_id is not None]
        if len(items) < 2:
            raise InputError(f"User {user_id} has fewer than two events.")
        made = []
        for side, own in zip(sides, tools, strict=True):
            request = Request(history=tuple(items[:-1]), n=N, mode=side.mode, explain=False)
            async with asyncio.timeout(service.config.deadline_s), service.gate.admitted():
                made.append(await recommend(own, request))
        yield Met(user_id, items[-1], (made[0], made[1]))


async def preferred(service: Service, met: Met) -> Preference:
    """Which list the judge prefers, asked in both orders.

    Raises:
        InputError: the server has no model.
        EngineError: no answer came.
    """
    model = service.engine.model
    if model is None:
        raise InputError("The judge needs a model and this server was started without one.")
    first, second = met.results
    known = next(cases_of(first, "list", met.user_id)).model_dump(exclude={"answer", "items"})
    pair = Pair(first=whole(first, "list"), second=whole(second, "list"), **known)
    records = Records(service.live.tools.dataset)
    bench = Bench(model, load_rubric("list"), JudgeConfig(), records)
    return await AgentJudge(bench).compare(pair)


def figures(service: Service, met: list[Met]) -> dict[str, tuple[float, float, float, Any]]:
    """Figure → mean of the first, of the second, second minus first, and its 95 % interval."""
    rows = np.array([[_of(service, one, side) for side in (0, 1)] for one in met])  # (n, 2, f)
    people = np.arange(len(met))
    found = {}
    for place, name in enumerate(FIGURES):
        first, second = rows[:, 0, place], rows[:, 1, place]
        means = resampled_means((second - first)[:, None], people, RESAMPLES, 0)[:, 0]
        span = interval(means) if len(met) > 1 else None
        found[name] = (first.mean(), second.mean(), (second - first).mean(), span)
    return found


def _of(service: Service, met: Met, side: int) -> list[float]:
    result = met.results[side]
    tools = service.live.tools
    page = [one["item_id"] for one in result["recommendations"]]
    place = page.index(met.held) + 1 if met.held in page else 0
    rows = np.array([[tools.dataset.row_of[item_id] for item_id in page]], dtype=np.int32)
    spent = result["tokens"].get("total", {"prompt": 0, "completion": 0})
    return [
        float(place > 0),
        1 / np.log2(place + 1) if place else 0.0,
        float(np.nan_to_num(diversity(rows, tools.vectors)[0])) if page else 0.0,
        result["timings_ms"]["total"] / 1000,
        spent["prompt"],
        spent["completion"],
    ]
