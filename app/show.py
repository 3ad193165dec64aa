"""A run shown in the terminal as it happens: tables of plain text, never markup of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from foretaste.agents.objects import Persona, Verdict
from foretaste.agents.prompting import clean, event_line

LATELY = 12
Made = Mapping[str, Any]
MARK = {"model": "model", "fallback": "grounded"}


class Screen:
    """Prints what each node made, in the order in which people read it."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.personas: list[Persona] = []
        self.titles: dict[str, str] = {}

    def show(self, node: str, made: Made) -> None:
        """Show one node's update."""
        shows = {
            "context": self._context,
            "planner": self._personas,
            "expert": self._tags,
            "arbiter": self._verdicts,
            "explain": self._page,
        }
        if node in shows:
            shows[node](made)

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

    def _personas(self, made: Made) -> None:
        self.personas = made["personas"]
        if not self.personas:
            return
        self._head(f"Planner: {len(self.personas)} personas")
        for number, persona in enumerate(self.personas, 1):
            evidence = ", ".join(self.titles[item_id] for item_id in persona.evidence[:4])
            self._line(f"{number}. {persona.name} [{MARK[persona.source]}]: {persona.description}")
            self._line(f"   rests on {evidence}")

    def _tags(self, made: Made) -> None:
        for tag in made["tags"][:1]:
            self._head(f"Expert for {self.personas[tag.persona].name} [{MARK[tag.source]}]")
        for tag in made["tags"]:
            self._line(f"{tag.text}: {tag.reason}")

    def _verdicts(self, made: Made) -> None:
        verdicts: list[Verdict] = made["verdicts"]
        if not verdicts:
            return
        self._head(f"Arbiter: {sum(v.kept for v in verdicts)} of {len(verdicts)} tags kept")
        for verdict in sorted(verdicts, key=lambda verdict: not verdict.kept):
            sign = "kept   " if verdict.kept else "dropped"
            self._line(f"{sign} {verdict.tag.text} [{MARK[verdict.source]}]: {verdict.reason}")

    def _page(self, made: Made) -> None:
        table = Table("#", "item", "score", "channel", "why", title="Recommendations")
        for number, one in enumerate(made["page"], 1):
            cells = (one.title, f"{one.score:.3f}", one.channel, one.explanation)
            table.add_row(str(number), *(Text(clean(cell, 200)) for cell in cells))
        self.console.print()
        self.console.print(table)

    def costs(self, result: dict[str, Any]) -> None:
        """Tokens, milliseconds and fallbacks of each step."""
        table = Table(title="Cost")
        for name in ("step", "ms", "tokens in", "cached", "tokens out", "calls", "fallbacks"):
            table.add_column(name, justify="left" if name == "step" else "right")
        nodes = {"explain": "explainer"}
        for node, ms in result["timings_ms"].items():
            tokens = result["tokens"].get(nodes.get(node, node), {})
            calls = result["fallbacks"].get(nodes.get(node, node), {})
            numbers = [tokens.get(key, "") for key in ("prompt", "cached", "completion")]
            numbers += [calls.get(key, "") for key in ("calls", "fallbacks")]
            table.add_row(node, f"{ms:,.0f}", *map(str, numbers))
        self.console.print(table)

    def _head(self, text: str) -> None:
        self.console.print()
        self.console.print(Text(clean(text, 160), style="bold"))

    def _line(self, text: str) -> None:
        self.console.print(Text(f"  {clean(text, 240)}"))
