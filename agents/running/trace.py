"""What a run did, when and at what cost: a span for every node, with the calls made in it.

A node writes facts about itself with `note`; the graph opens and closes the spans
(`traced_graph.py`) and keeps them in its state, so that a run which goes on in another process
still has the trace of what it did before. `trace_of` joins spans and calls into one JSON object.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pydantic import Field

from foretaste.agents.objects import Frozen, Step

Note = str | int | float
_NOTES: ContextVar[dict[str, Note] | None] = ContextVar("notes", default=None)


class Span(Frozen):
    """One node at work.

    Attributes:
        id: of the node's task: the same when a killed run goes on, another for every expert.
        node: planner, expert, retrieve, …
        label: the persona of an expert, the number of a route, else empty.
        at: when it began, seconds since 1970.
        ms: how long it took, milliseconds of wall time.
        notes: facts that the node wrote about itself.
    """

    id: str
    node: str
    label: str = ""
    at: float
    ms: float
    notes: dict[str, Note] = Field(default_factory=dict)


def note(**facts: Note) -> None:
    """Write facts about the node that is at work into the trace; outside a node nothing happens.

    A fact of the same name replaces the one before. Threads that the node starts with
    `asyncio.to_thread` write into the same span.
    """
    notes = _NOTES.get()
    if notes is not None:
        notes.update(facts)


@contextmanager
def noting() -> Iterator[dict[str, Note]]:
    """Collect what `note` is told in the block."""
    notes: dict[str, Note] = {}
    token = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(token)


def label_of(task: Mapping[str, Any]) -> str:
    """What a node's task is about, for people: the name of its persona, else its number from 1.

    >>> label_of({"number": 0}), label_of({"personas": []})
    ('1', '')
    """
    if "persona" in task:
        return str(task["persona"].name)
    return str(task["number"] + 1) if "number" in task else ""


def wall_ms(spans: Sequence[Span]) -> dict[str, float]:
    """Node → milliseconds during which it, or several of it at once, were at work.

    >>> wall_ms([Span(id="a", node="expert", at=0, ms=900), Span(id="b", node="expert", at=0.5,
    ...          ms=1000)])
    {'expert': 1500.0}
    """
    spent: dict[str, float] = {}
    until: dict[str, float] = {}
    for span in sorted(spans, key=lambda one: one.at):
        start = max(span.at, until.get(span.node, span.at))
        end = max(span.at + span.ms / 1000, start)
        spent[span.node] = spent.get(span.node, 0.0) + (end - start) * 1000
        until[span.node] = end
    return spent


def trace_of(
    spans: Sequence[Span], steps: Sequence[Step], kept: Collection[str] = ()
) -> dict[str, Any]:
    """The trace of one run as a JSON-ready object.

    Args:
        spans: of its nodes, in any order.
        steps: the calls made in them; each names its span.
        kept: ids of spans that an earlier process had finished.

    Returns:
        began (seconds since 1970), ms (from the first start to the last end, pauses between two
        processes included), nodes: in order of their start, each with node, label, start_ms
        (after `began`), ms, kept, notes and calls; a call has label, start_ms, ms, prompt_version,
        adapter, asks, prompt, cached, completion (tokens), fallback and repaired (why, or None).
    """
    ordered = sorted(spans, key=lambda span: span.at)
    began = ordered[0].at if ordered else time.time()
    calls: dict[str, list[dict[str, Any]]] = {span.id: [] for span in ordered}
    for step in sorted(steps, key=lambda step: step.at):
        if step.span in calls:
            fields = step.model_dump(exclude={"node", "span", "at", "ms"})
            calls[step.span].append(fields | _when(step, began))
    nodes = [
        {"node": span.node, "label": span.label, "kept": span.id in kept, **_when(span, began)}
        | {"notes": dict(span.notes), "calls": calls[span.id]}
        for span in ordered
    ]
    end = max((span.at + span.ms / 1000 for span in ordered), default=began)
    return {"began": round(began, 3), "ms": round((end - began) * 1000, 1), "nodes": nodes}


def _when(one: Span | Step, began: float) -> dict[str, float]:
    return {"start_ms": round((one.at - began) * 1000, 1), "ms": round(one.ms, 1)}
