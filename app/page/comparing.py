"""Behind the Compare tab: the same people under two settings, and what differs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from foretaste.agents.objects import Request
from foretaste.agents.recommend import recommend
from foretaste.app.api.service import Service
from foretaste.app.page.sides import Setting
from foretaste.data.errors import InputError
from foretaste.judge.agent import AgentJudge
from foretaste.judge.batch.recommended import cases_of, whole
from foretaste.judge.config import JudgeConfig
from foretaste.judge.graph import Bench
from foretaste.judge.objects import PREFERENCE, Pair, Preference
from foretaste.judge.ranking.bootstrap import interval, resampled_means
from foretaste.judge.ranking.lists import diversity
from foretaste.judge.records import Records
from foretaste.judge.rubric import load_rubric

FIGURES = ("hit@10", "ndcg@10", "diversity", "seconds", "tokens read", "tokens written")
JUDGED = "the judge's points"
RESAMPLES = 1000
N = 10


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

    Models of their own are loaded before the first and let go of after the last.

    Raises:
        ForetasteError: a setting cannot be run.
    """
    async with AsyncExitStack() as stack:
        tools = [await side.over(service, stack) for side in sides]
        for user_id in users:
            events = [one["item_id"] for one in service.live.tools.dataset.events_of(user_id)]
            items = [item_id for item_id in events if item_id is not None]
            if len(items) < 2:
                raise InputError(f"User {user_id} has fewer than two events.")
            made = []
            for side, own in zip(sides, tools, strict=True):
                request = Request(history=tuple(items[:-1]), n=N, mode=side.mode, explain=False)
                async with asyncio.timeout(service.config.deadline_s), service.gate.admitted():
                    made.append(await service.workshop.run(recommend(own, request)))
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


Figures = dict[str, tuple[float, float, float, Any]]


def figures(service: Service, met: list[Met], words: list[Preference]) -> Figures:
    """Figure → mean of the first, of the second, second minus first, and its 95 % interval.

    Args:
        service: of the data set.
        met: the people so far.
        words: the judge's on each of them, where it was asked: a preferred list gets a point, a tie
            half a point for each; what could not be read is left out.
    """
    rows = np.array([[_of(service, one, side) for side in (0, 1)] for one in met])  # (n, 2, f)
    named = {name: rows[:, :, place] for place, name in enumerate(FIGURES)}
    points = [PREFERENCE[one.better] for one in words if one.better is not None]
    if points:
        named[JUDGED] = np.array([[point, 1 - point] for point in points])
    found: Figures = {}
    for name, pairs in named.items():
        first, second = pairs[:, 0], pairs[:, 1]
        people = np.arange(len(pairs))
        means = resampled_means((second - first)[:, None], people, RESAMPLES, 0)[:, 0]
        span = interval(means) if len(pairs) > 1 else None
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
