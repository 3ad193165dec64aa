"""(b) What the pipeline adds outside the model, request by request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
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
    """Milliseconds per request with a model that answers at once, one request after another.

    Returns:
        p50 and p95, the same in processor time (for a machine that others use too), without the time in the sentence embedder (which is a model too), and
        the share of calls that fell back on their grounded twin.
    """
    embedder = Forgetful(tools.embedder)
    tools = replace(tools, embedder=embedder, model=InstantModel())
    return asyncio.run(_measure(tools, embedder, users))


async def _measure(tools: Tools, embedder: Forgetful, users: Sequence[str]) -> dict[str, Any]:
    wall, processor, rest, calls, fallbacks = [], [], [], 0, 0
    with meter("Pipeline with an instant model", len(users), "requests") as progress:
        for user in [*users[:_WARM_UP], *users]:
            start, used, embedded = time.perf_counter(), time.process_time(), embedder.spent_s
            result = await recommend(tools, Request(user_id=user))
            wall.append(1000 * (time.perf_counter() - start))
            processor.append(1000 * (time.process_time() - used))
            rest.append(wall[-1] - 1000 * (embedder.spent_s - embedded))
            calls += sum(row["calls"] for row in result["fallbacks"].values())
            fallbacks += sum(row["fallbacks"] for row in result["fallbacks"].values())
            progress.advance(1 if len(wall) > _WARM_UP else 0)
    first = len(users[:_WARM_UP])
    return {
        **_percentiles("", wall[first:]),
        **_percentiles("_processor", processor[first:]),
        **_percentiles("_without_embedder", rest[first:]),
        "requests": len(users),
        "fallback_share": round(fallbacks / max(calls, 1), 3),
    }


def _percentiles(suffix: str, ms: list[float]) -> dict[str, float]:
    return {f"p{at}{suffix}": round(float(np.percentile(ms, at)), 2) for at in (50, 95)}
