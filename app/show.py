"""A run shown in the terminal as it happens: tables of plain text, never markup of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from foretaste.agents.objects import Persona, Verdict
from foretaste.agents.recommend import EXPLAINED, STARTED
from foretaste.agents.wording.prompting import clean, event_line

LATELY = 12
Made = Mapping[str, Any]
MARK = {"model": "model", "fallback": "grounded"}
PLAIN_WIDTH = 400  # characters of a line that goes to a file or a pipe


class Screen:
    """Prints what each node made, in the order in which people read it."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.personas: list[Persona] = []
        self.titles: dict[str, str] = {}
        self._working: list[str] = []
        self._status: Status | None = None

    def show(self, node: str, made: Made) -> None:
        """Show one event of a run: on a terminal who is at work, everywhere what was made."""
        shows = {
            "context": self._context,
            "planner": self._planned,
            "expert": self._tags,
            "arbiter": self._verdicts,
            "route": self._route,
            "unite": self._united,
            "single": self._single,
            "explain": self._page,
        }
        if node == STARTED:
            self._working.append(_task(made["node"], made["label"]))
        elif node == EXPLAINED:
            self._explained(made)
        else:
            ended = {_task(span.node, span.label) for span in made["spans"]}
            self._working = [task for task in self._working if task not in ended]
            if node in shows:
                shows[node](made)
        self._who_works()

    def rest(self) -> None:
        """Show nobody at work any more."""
        self._working = []
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _who_works(self) -> None:
        """A last line that goes again, on a terminal only."""
        if not self._working:
            self.rest()
        elif self._working and self.console.is_terminal:
            line = Text(f"at work: {clean(', '.join(self._working), 100)}")
            self._status = self._status or self.console.status(line)
            self._status.update(line)
            self._status.start()

    def _context(self, made: Made) -> None:
        context = made["context"]
        self.titles = {event.item_id: event.title for event in context.events}
        who = f"User {context.user_id}" if context.user_id else "Someone"
        facts = ", ".join(f"{name} {value}" for name, value in context.attributes.items())
        self._head(f"{who}{f' ({facts})' if facts else ''}: {len(context.events)} events")
        if context.wish:
            self._line(f"wish: {context.wish}")
        if len(context.events) > LATELY:
            self._line(f"… {len(context.events) - LATELY} earlier ones")
        for event in context.events[-LATELY:]:
            self._line(event_line(event))

    def _planned(self, made: Made) -> None:
        self._personas("Planner", made["personas"])

    def _personas(self, who: str, personas: list[Persona]) -> None:
        self.personas = personas
        if not personas:
            return
        self._head(f"{who}: {len(personas)} personas")
        for number, persona in enumerate(self.personas, 1):
            evidence = ", ".join(self.titles[item_id] for item_id in persona.evidence[:4])
            self._line(f"{number}. {persona.name} [{MARK[persona.source]}]: {persona.description}")
            self._line(f"   rests on {evidence}")

    def _tags(self, made: Made) -> None:
        for tag in made["tags"][:1]:
            self._head(f"Expert for {self.personas[tag.persona].name} [{MARK[tag.source]}]")
        for tag in made["tags"]:
            self._line(f"{tag.text}: {tag.reason}")

    def _route(self, made: Made) -> None:
        for persona in made["interests"].values():
            self._head(f"Route to {persona.name} [{MARK[persona.source]}]")
            self._line(persona.description)
        for tag in made["tags"]:
            self._line(f"{tag.text}: {tag.reason}")

    def _united(self, made: Made) -> None:
        self.personas = made["personas"]
        self._judged("All routes", made["verdicts"])

    def _single(self, made: Made) -> None:
        self._personas("One prompt", made["personas"])
        self._judged("One prompt", made["verdicts"])

    def _verdicts(self, made: Made) -> None:
        self._judged("Arbiter", made["verdicts"])

    def _judged(self, who: str, verdicts: list[Verdict]) -> None:
        if not verdicts:
            return
        self._head(f"{who}: {sum(v.kept for v in verdicts)} of {len(verdicts)} tags kept")
        for verdict in sorted(verdicts, key=lambda verdict: not verdict.kept):
            sign = "kept   " if verdict.kept else "dropped"
            self._line(f"{sign} {verdict.tag.text} [{MARK[verdict.source]}]: {verdict.reason}")

    def _explained(self, made: Made) -> None:
        """Sentences of one group while others are still being written; the table repeats them."""
        for one in made["recommendations"] if self.console.is_terminal else ():
            self._line(f"{one.title}: {one.explanation}")

    def _page(self, made: Made) -> None:
        table = Table("#", "item", "score", "channel", "why", title="Recommendations")
        for number, one in enumerate(made["page"], 1):
            cells = (one.title, f"{one.score:.3f}", one.channel, one.explanation)
            table.add_row(str(number), *(Text(clean(cell, 200)) for cell in cells))
        self.console.print()
        self.console.print(table)

    def costs(self, result: dict[str, Any]) -> None:
        """Seconds, tokens, calls and fallbacks of each node, and of the whole run.

        Args:
            result: of `agents.recommend.result`, with its trace.
        """
        table = Table(title="Cost")
        for name in ("node", "seconds", "tokens in", "cached", "tokens out", "calls", "fallbacks"):
            table.add_column(name, justify="left" if name == "node" else "right")
        for node, ms in result["timings_ms"].items():
            calls = [
                call
                for one in result["trace"]["nodes"]
                if node in (one["node"], "total")
                for call in one["calls"]
            ]
            table.add_row(node, f"{ms / 1000:,.2f}", *(_sums(calls) if calls else []))
        self.console.print(table)

    def _head(self, text: str) -> None:
        self.console.print()
        self.console.print(Text(clean(text, 160), style="bold"))

    def _line(self, text: str) -> None:
        self.console.print(Text(f"  {clean(text, 240)}"))


def show_trace(trace: dict[str, Any], console: Console | None = None) -> None:
    """The trace of a run as a tree on standard error: nodes by their start, in them their calls.

    Args:
        trace: of `agents.trace.trace_of`.
        console: where to; standard error when None.
    """
    console = console or Console(stderr=True, highlight=False)
    tree = Tree(Text(f"run: {trace['ms']:,.0f} ms"))
    for node in trace["nodes"]:
        branch = tree.add(_node_line(node))
        if node["notes"]:
            facts = ", ".join(f"{name} {value}" for name, value in node["notes"].items())
            branch.add(Text(clean(facts, 400)))
        for call in node["calls"]:
            branch.add(_call_line(call, named=call["label"] != node["label"]))
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    console.print(tree)


def _node_line(node: dict[str, Any]) -> Text:
    when = f"from {node['start_ms']:,.0f} ms, {node['ms']:,.0f} ms"
    kept = ", from the checkpoint" if node["kept"] else ""
    return Text(f"{clean(_task(node['node'], node['label']))}: {when}{kept}")


def _call_line(call: dict[str, Any], named: bool) -> Text:
    about = f"{clean(call['label'], 40)}: " if named and call["label"] else ""
    parts = [f"from {call['start_ms']:,.0f} ms, {call['ms']:,.0f} ms"]
    if call["prompt"]:
        parts.append(
            f"tokens {call['prompt']} in ({call['cached']} cached), {call['completion']} out"
        )
    parts.append(f"prompt {call['prompt_version']}")
    if call["adapter"]:
        parts.append(f"adapter {clean(call['adapter'])}")
    if call["asks"] > 1:
        parts.append(f"asked {call['asks']} times")
    if call["fallback"] is not None:
        parts.append(f"fallback: {clean(call['fallback'], 120)}")
    if call["repaired"] is not None:
        parts.append(f"repaired: {clean(call['repaired'], 120)}")
    return Text(f"call {about}{', '.join(parts)}")


def _task(node: str, label: str) -> str:
    return f"{node} {label}".rstrip()


def _sums(calls: list[dict[str, Any]]) -> list[str]:
    """Tokens in, cached, out; calls; fallbacks."""
    tokens = [sum(call[name] for call in calls) for name in ("prompt", "cached", "completion")]
    fallbacks = sum(call["fallback"] is not None for call in calls)
    return [f"{number:,}" for number in (*tokens, len(calls), fallbacks)]
