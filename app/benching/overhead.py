"""(b) What the pipeline adds outside the model, request by request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.objects import Request
from foretaste.agents.recommend import recommend
from foretaste.agents.retrieval.tools import Tools
from foretaste.app.benching.instant import InstantModel
from foretaste.data.progress import meter
from foretaste.serving.embedder import Embedder

_WARM_UP = 5
TAKES_S = 0.1  # of the model whose time is not counted


class Forgetful:
    """An embedder that remembers no new text: every request pays for the texts it brings."""

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self.name, self.fingerprint = inner.name, inner.fingerprint
        self.dimension = inner.dimension
        self.spent_s = 0.0

    def encode(self, texts: Sequence[str], *, keep: bool = True) -> NDArray[np.float32]:
        """(n, d) float32; nothing is kept."""
        start = time.perf_counter()
        try:
            return self._inner.encode(texts, keep=False)
        finally:
            self.spent_s += time.perf_counter() - start


def measure_overhead(tools: Tools, users: Sequence[str]) -> dict[str, Any]:
    """Milliseconds per request during which no call of the model is under way, requests one by one.

    The model takes 0.1 s for every answer, less than a language model does, so that work which is
    done while it answers is not counted, and is where there is too much of it. Then the whole wall
    time with a model that answers at once, where nothing can be done meanwhile.

    Returns:
        p50 and p95 outside the model; of a model that answers at once p50_instant and p95_instant,
        the same in processor time (`_processor`, for a machine that others use too) and without
        the time in the sentence embedder (`_without_embedder`), which is a model too; and the
        share of calls that fell back on their grounded twin.
    """
    outside = asyncio.run(_measure(tools, InstantModel(TAKES_S), users))
    at_once = asyncio.run(_measure(tools, InstantModel(), users))
    return {
        **_percentiles("", outside.wall),
        **_percentiles("_instant", at_once.wall),
        **_percentiles("_processor", at_once.processor),
        **_percentiles("_without_embedder", at_once.rest),
        "requests": len(users),
        "fallback_share": round(at_once.fallbacks / max(at_once.calls, 1), 3),
    }


@dataclass
class _Spent:
    """Milliseconds of each request, and how many calls fell back."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    rest: list[float] = field(default_factory=list)
    calls: int = 0
    fallbacks: int = 0


async def _measure(tools: Tools, model: InstantModel, users: Sequence[str]) -> _Spent:
    """Each user once, after a few that warm up; nothing is remembered from one to the next."""
    embedder = Forgetful(tools.embedder)
    ready, spent = replace(tools, embedder=embedder, model=model), _Spent()
    with meter("Pipeline around a scripted model", len(users), "requests") as progress:
        for user in users[:_WARM_UP]:
            await recommend(ready, Request(user_id=user))
        model.busy_s()
        for user in users:
            start, used, embedded = time.perf_counter(), time.process_time(), embedder.spent_s
            result = await recommend(ready, Request(user_id=user))
            wall = time.perf_counter() - start
            spent.wall.append(1000 * (wall - model.busy_s()))
            spent.processor.append(1000 * (time.process_time() - used))
            spent.rest.append(spent.wall[-1] - 1000 * (embedder.spent_s - embedded))
            spent.calls += sum(row["calls"] for row in result["fallbacks"].values())
            spent.fallbacks += sum(row["fallbacks"] for row in result["fallbacks"].values())
            progress.advance(1)
    return spent


def _percentiles(suffix: str, ms: list[float]) -> dict[str, float]:
    return {f"p{at}{suffix}": round(float(np.percentile(ms, at)), 2) for at in (50, 95)}
