"""The agent judge as a LangGraph graph: one evaluator a dimension, all at once, then the reviewer.

    profile → evaluate × dimensions → review

Agent-as-a-Judge of RecGPT-V2 (arXiv 2512.14503, section 6): each evaluator gives one mark with
reason and quoted evidence; the senior reviewer makes tiers of them by rule, and a model that is
asked once more may only lower the tier.
"""

from __future__ import annotations

import asyncio
import operator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send

from foretaste.agents.objects import Step
from foretaste.agents.running.trace import Span
from foretaste.agents.running.traced_graph import TracedGraph
from foretaste.agents.wording.prompting import clean
from foretaste.judge import prompting
from foretaste.judge.asking import ask_readably
from foretaste.judge.config import JudgeConfig
from foretaste.judge.evidence import quoted
from foretaste.judge.objects import Case, Fault, Judgement, Rubric, Verdict
from foretaste.judge.records import Records
from foretaste.judge.review import lower_of, score_of, tier_of
from foretaste.judge.schemas import MarkAnswer, ReviewAnswer
from foretaste.serving.chat import ChatModel


class State(TypedDict, total=False):
    """What has been made so far."""

    case: Case
    verdicts: Annotated[list[Verdict], operator.add]
    faults: Annotated[list[Fault], operator.add]
    judgement: Judgement
    steps: Annotated[list[Step], operator.add]
    spans: Annotated[list[Span], operator.add]


class Task(TypedDict):
    """What one evaluator is sent: the case, and the number of its dimension."""

    case: Case
    number: int


@dataclass(frozen=True)
class Bench:
    """What judges work with.

    Attributes:
        model: the language model.
        rubric: what is judged, by which dimensions.
        config: how the model is asked.
        records: tells history, profile and facts; None for what stands in the cases alone.
    """

    model: ChatModel
    rubric: Rubric
    config: JudgeConfig
    records: Records | None = None


Tooled = Runtime[Bench]
Update = dict[str, Any]


async def read_profile(state: State, runtime: Tooled) -> Update:
    """Who the person is, and what the items are, before anything is judged."""
    case, records = state["case"], runtime.context.records
    if records is None:
        return {}
    target = runtime.context.rubric.target
    known = await asyncio.to_thread(lambda: records.of_items(records.of_person(case), target))
    return {"case": known}


def to_evaluators(state: State, runtime: Tooled) -> list[Send]:
    """All dimensions at once."""
    case, some = state["case"], range(len(runtime.context.rubric.dimensions))
    return [Send("evaluate", Task(case=case, number=number)) for number in some]


async def evaluate(state: Task, runtime: Tooled) -> Update:
    """One mark with reason and evidence, or the fault of an answer that could not be read twice."""
    bench, case = runtime.context, state["case"]
    dimension = bench.rubric.dimensions[state["number"]]
    reading = await ask_readably(
        bench.model,
        bench.config,
        prompting.evaluate_messages(case, bench.rubric, dimension, bench.config.history_items),
        MarkAnswer,
        node="evaluate",
        label=dimension.name,
    )
    steps = list(reading.steps)
    if reading.parsed is None:
        return {"faults": [reading.fault], "steps": steps}
    verdict = Verdict(
        dimension=dimension.name,
        mark=reading.parsed.mark,
        reason=clean(reading.parsed.reason, 240),
        evidence=quoted(reading.parsed.evidence, case),
        text=reading.text,
    )
    return {"verdicts": [verdict], "steps": steps}


async def review(state: State, runtime: Tooled) -> Update:
    """The tier by rule; with `config.review` a model may lower it."""
    case, names = state["case"], runtime.context.rubric.names
    verdicts = sorted(state.get("verdicts", []), key=lambda one: names.index(one.dimension))
    faults = sorted(state.get("faults", []), key=lambda one: names.index(one.dimension))
    whole = Judgement(id=case.id, group=case.group, segments=case.segments)
    whole = whole.model_copy(update={"verdicts": tuple(verdicts)})
    if faults:
        return {"judgement": whole.model_copy(update={"faults": tuple(faults)})}
    marks = [one.mark for one in verdicts]
    tier = tier_of(marks, runtime.context.rubric.excellent)
    whole = whole.model_copy(update={"tier": tier, "score": score_of(marks)})
    if not runtime.context.config.review or tier == "B":
        return {"judgement": whole}
    return await _second_look(runtime.context, case, whole)


async def _second_look(bench: Bench, case: Case, whole: Judgement) -> Update:
    """The judgement after a model looked for a missed defect; it may lower the tier alone."""
    tier = whole.tier or "B"
    reading = await ask_readably(
        bench.model,
        bench.config,
        prompting.review_messages(
            case, bench.rubric, whole.verdicts, tier, bench.config.history_items
        ),
        ReviewAnswer,
        node="review",
        label="review",
    )
    steps = list(reading.steps)
    if reading.parsed is None:
        unread = {"tier": None, "score": None, "faults": (reading.fault,)}
        return {"judgement": whole.model_copy(update=unread), "steps": steps}
    said = clean(reading.parsed.reason, 240)
    lowered = {"tier": lower_of(tier, reading.parsed.tier), "review": said}
    return {"judgement": whole.model_copy(update=lowered), "steps": steps}


@cache
def build_graph() -> CompiledStateGraph[State, Bench, State, State]:
    """The compiled graph; each run is given its `Bench` as the runtime context."""
    graph = TracedGraph(State, context_schema=Bench)
    graph.add_node("profile", read_profile)
    graph.add_node("evaluate", evaluate, input_schema=Task)
    graph.add_node("review", review)
    graph.add_edge(START, "profile")
    graph.add_conditional_edges("profile", to_evaluators, ["evaluate"])
    graph.add_edge("evaluate", "review")
    graph.add_edge("review", END)
    return graph.compile()
