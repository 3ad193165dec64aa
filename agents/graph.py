"""One recommendation as a LangGraph graph, to be read on one screen.

    context → planner → expert × K → arbiter → retrieve → rank → explain

Two other ways to the tags stand beside it to be compared with (`Request.mode`):

    context → route × R → unite → retrieve …        context → single → retrieve …

Each node reads the state, does one thing and returns what it made with the steps it took. A node
that asks the model falls back on its grounded twin when the answer fails its checks.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send

from foretaste.agents.contexts import context
from foretaste.agents.explaining import explainer
from foretaste.agents.objects import (
    Candidate,
    Persona,
    Recommendation,
    Request,
    Step,
    Tag,
    UserContext,
    Verdict,
)
from foretaste.agents.ranking import ranker
from foretaste.agents.reasoning import arbiter, expert, planner, routes, single
from foretaste.agents.retrieval import channels
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.running.trace import Span, note
from foretaste.agents.running.traced_graph import TracedGraph


class State(TypedDict, total=False):
    """What has been made so far."""

    request: Request
    context: UserContext
    personas: list[Persona]
    interests: Annotated[dict[int, Persona], operator.or_]
    tags: Annotated[list[Tag], operator.add]
    dropped: Annotated[list[Verdict], operator.add]
    verdicts: list[Verdict]
    candidates: list[Candidate]
    page: list[Recommendation]
    steps: Annotated[list[Step], operator.add]
    spans: Annotated[list[Span], operator.add]


class ExpertTask(TypedDict):
    """What one expert is sent."""

    request: Request
    persona: Persona
    number: int


class RouteTask(TypedDict):
    """What one route is sent."""

    request: Request
    number: int


@dataclass(frozen=True)
class Desk:
    """What one run works with: the shared tools as they are now, and the caller, read once.

    Whatever changes in the catalogue or in the history meanwhile is for the next run.
    """

    tools: Tools
    request: Request

    @cached_property
    def reader(self) -> context.Reader:
        """Who is asking, what they did, and what may be shown to them."""
        tools = self.tools
        return context.read(tools.dataset, self.request, tools.surroundings, tools.profiles)


Tooled = Runtime[Desk]
Update = dict[str, Any]


async def read_context(state: State, runtime: Tooled) -> Update:
    """Behaviours, user, environment, wish."""
    return {"context": runtime.context.reader.context}


async def plan(state: State, runtime: Tooled) -> Update:
    """K personas with their evidence."""
    reader = runtime.context.reader
    personas, steps = await planner.plan(runtime.context.tools, reader, state["request"].seed)
    return {"personas": personas, "steps": steps}


def to_experts(state: State) -> list[Send] | str:
    """All personas at once; straight to the arbiter when there are none."""
    tasks = [
        Send("expert", ExpertTask(request=state["request"], persona=persona, number=number))
        for number, persona in enumerate(state["personas"])
    ]
    return tasks or "arbiter"


async def propose(state: ExpertTask, runtime: Tooled) -> Update:
    """M tags of one persona."""
    request = state["request"]
    reader = runtime.context.reader
    proposal, steps = await expert.propose(
        runtime.context.tools, reader, state["persona"], state["number"], request.seed
    )
    return {"tags": proposal.tags, "dropped": proposal.dropped, "steps": steps}


async def decide(state: State, runtime: Tooled) -> Update:
    """N tags kept over all personas."""
    reader = runtime.context.reader
    proposed = sorted(state.get("tags", []), key=lambda tag: tag.persona)
    verdicts, steps = await arbiter.decide(
        runtime.context.tools, reader, state["personas"], proposed, state["request"].seed
    )
    return {"verdicts": verdicts + state.get("dropped", []), "steps": steps}


def by_mode(state: State, runtime: Tooled) -> list[Send] | str:
    """The first step on the way to the tags."""
    request, tools = state["request"], runtime.context.tools
    if request.mode == "single":
        return "single"
    if request.mode == "hierarchical":
        return "planner"
    some = range(routes.count(tools, runtime.context.reader))
    return [Send("route", RouteTask(request=request, number=n)) for n in some] or "unite"


async def follow(state: RouteTask, runtime: Tooled) -> Update:
    """One persona and its M tags, from the whole history."""
    number, seed = state["number"], state["request"].seed
    tools, reader = runtime.context.tools, runtime.context.reader
    persona, proposal, steps = await routes.follow(tools, reader, number, seed)
    tags, dropped = proposal.tags, proposal.dropped
    return {"interests": {number: persona}, "tags": tags, "dropped": dropped, "steps": steps}


def unite(state: State, runtime: Tooled) -> Update:
    """All tags of all routes."""
    found = state.get("interests", {})
    tags = sorted(state.get("tags", []), key=lambda tag: tag.persona)
    verdicts = routes.united(tags) + state.get("dropped", [])
    return {"personas": [found[number] for number in sorted(found)], "verdicts": verdicts}


async def answer(state: State, runtime: Tooled) -> Update:
    """Personas and tags in one call."""
    tools, reader = runtime.context.tools, runtime.context.reader
    personas, verdicts, steps = await single.answer(tools, reader, state["request"].seed)
    tags = [verdict.tag for verdict in verdicts if verdict.kept]
    return {"personas": personas, "tags": tags, "verdicts": verdicts, "steps": steps}


def retrieve(state: State, runtime: Tooled) -> Update:
    """Candidates of every channel."""
    tools, reader = runtime.context.tools, runtime.context.reader
    kept = [verdict.tag for verdict in state["verdicts"] if verdict.kept]
    found = channels.every(tools, reader, kept)
    note(**{f"found_{one.channel}": len(one.rows) for one in found})
    return {"candidates": channels.merge(tools, found)}


async def rank(state: State, runtime: Tooled) -> Update:
    """The page."""
    request = state["request"]
    page = ranker.rank(runtime.context.tools, state["candidates"], request.n, request.draw)
    return {"page": page}


def to_explainer(state: State) -> str:
    """The page is finished here when the caller wants no sentences."""
    return "explain" if state["request"].explain else END


async def explain(state: State, runtime: Tooled) -> Update:
    """One honest sentence an item; while a model writes, each group is told as it is done."""
    tools, reader, seed = runtime.context.tools, runtime.context.reader, state["request"].seed

    def told(items: list[Recommendation]) -> None:
        runtime.stream_writer({"recommendations": items})

    page, steps = await explainer.explain(
        tools,
        reader,
        state["page"],
        seed,
        state["personas"],
        state["verdicts"],
        told if tools.model else None,
    )
    return {"page": page, "steps": steps}


@cache
def build_graph() -> CompiledStateGraph[State, Desk, State, State]:
    """The compiled graph; each run is given its `Desk` as the runtime context."""
    graph = TracedGraph(State, context_schema=Desk)
    graph.add_node("context", read_context)
    graph.add_node("planner", plan)
    graph.add_node("expert", propose, input_schema=ExpertTask)
    graph.add_node("arbiter", decide)
    graph.add_node("route", follow, input_schema=RouteTask)
    graph.add_node("unite", unite)
    graph.add_node("single", answer)
    graph.add_node("retrieve", retrieve)
    graph.add_node("rank", rank)
    graph.add_node("explain", explain)
    graph.add_edge(START, "context")
    graph.add_conditional_edges("context", by_mode, ["planner", "route", "unite", "single"])
    graph.add_conditional_edges("planner", to_experts, ["expert", "arbiter"])
    graph.add_edge("expert", "arbiter")
    graph.add_edge("arbiter", "retrieve")
    graph.add_edge("route", "unite")
    graph.add_edge("unite", "retrieve")
    graph.add_edge("single", "retrieve")
    graph.add_edge("retrieve", "rank")
    graph.add_conditional_edges("rank", to_explainer, ["explain", END])
    graph.add_edge("explain", END)
    return graph.compile()
