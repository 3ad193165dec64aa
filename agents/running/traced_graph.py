"""A LangGraph graph whose nodes leave spans: what each did stands in the state's `spans`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from langgraph.graph import StateGraph
from langgraph.runtime import Runtime
from langgraph.typing import ContextT, InputT, OutputT, StateT

from foretaste.agents.running.trace import Span, label_of, noting

Node = Callable[..., Any]
Update = dict[str, Any]


class TracedGraph(StateGraph[StateT, ContextT, InputT, OutputT]):
    """A state graph over a state with the lists `spans` and `steps`.

    Every node that is added is timed: its update gets its span, and its steps the span's id.
    """

    def add_node(self, node: str, action: Node, **settings: Any) -> TracedGraph[Any, Any, Any, Any]:  # type: ignore[override]
        """Add a node `action(state, runtime) -> update`, plain or async.

        Args:
            node: its name.
            action: what it does; LangGraph runs a plain function in a thread.
            settings: as LangGraph takes them.
        """
        super().add_node(node, traced(node, action), **settings)
        return self


def traced(node: str, action: Node) -> Node:
    """The same node, leaving a span in its update."""
    if iscoroutinefunction(action):

        @wraps(action)
        async def run(state: Update, runtime: Runtime[Any]) -> Update:
            with _watched(node, state, runtime) as close:
                return close(await action(state, runtime))

        return run

    @wraps(action)
    def run_plain(state: Update, runtime: Runtime[Any]) -> Update:
        with _watched(node, state, runtime) as close:
            return close(action(state, runtime))

    return run_plain


@contextmanager
def _watched(
    node: str, state: Update, runtime: Runtime[Any]
) -> Iterator[Callable[[Update], Update]]:
    """Give what adds the span of the block to a node's update."""
    at, start = time.time(), time.perf_counter()
    info = runtime.execution_info
    task = info.task_id if info else node
    with noting() as notes:

        def close(made: Update) -> Update:
            ms = (time.perf_counter() - start) * 1000
            span = Span(id=task, node=node, label=label_of(state), at=at, ms=ms, notes=dict(notes))
            steps = [step.model_copy(update={"span": task}) for step in made.get("steps", [])]
            return {**made, "steps": steps, "spans": [span]}

        yield close
