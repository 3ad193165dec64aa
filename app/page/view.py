"""A run as the page shows it, while it runs and when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from foretaste.agents.objects import (
    Candidate,
    Persona,
    Recommendation,
    Tag,
    UserContext,
    Verdict,
)
from foretaste.agents.recommend import EXPLAINED, STARTED
from foretaste.app.page import pieces

WHO = {"model": "language model", "fallback": "grounded, without the model"}
_NEWEST, _STATEMENTS, _EVIDENCE = 5, 3, 4  # choices and lines of the profile that are shown as read
NAMES = {
    "context": "reading the history",
    "planner": "planner",
    "expert": "expert",
    "arbiter": "arbiter",
    "route": "route",
    "unite": "uniting",
    "single": "one prompt",
    "retrieve": "searching",
    "rank": "ranking",
    "explain": "explaining",
}


@dataclass
class View:
    """What the agents made so far, for one visitor and one run.

    Attributes:
        context: what the agents read of the person.
        titles: item id → title, of the history.
        working: who is at work: (node, label).
        personas: in the order of their numbers.
        tags: proposed tags.
        verdicts: the arbiter's word on each.
        candidates: what the channels found.
        page: the items, while sentences are being written for them.
    """

    context: UserContext | None = None
    titles: dict[str, str] = field(default_factory=dict)
    working: list[tuple[str, str]] = field(default_factory=list)
    personas: list[Persona] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    page: list[Recommendation] = field(default_factory=list)

    def take(self, node: str, made: Mapping[str, Any]) -> None:
        """Take in one event of `agents.recommend.stream`."""
        if node == STARTED:
            self.working.append((made["node"], made["label"]))
            return
        if node == EXPLAINED:
            final = {one.item_id: one for one in made["recommendations"]}
            self.page = [final.get(one.item_id, one) for one in self.page]
            return
        ended = {(span.node, span.label) for span in made.get("spans", ())}
        self.working = [one for one in self.working if one not in ended]
        if "context" in made:
            self.context = made["context"]
            self.titles = {event.item_id: event.title for event in made["context"].events}
        self.personas = made.get("personas", self.personas)
        self.personas = [*self.personas, *made.get("interests", {}).values()]
        if node in ("expert", "route"):
            self.tags = [*self.tags, *made["tags"]]
        self.verdicts = made.get("verdicts", self.verdicts)
        self.candidates = made.get("candidates", self.candidates)
        self.page = made.get("page", self.page)

    def status(self) -> str:
        """Who works now, as a line that screen readers are told of."""
        names = [f"{NAMES.get(node, node)} {label}".strip() for node, label in self.working]
        line = f"At work: {', '.join(dict.fromkeys(names))}" if names else "Working"
        return (
            '<p class="ft-note" role="status"><span class="ft-work" aria-hidden="true"></span>'
            f"{pieces.text(line)} …</p>"
        )

    def agents(self) -> str:
        """What is read, personas with evidence and tags side by side, the arbiter, and the items."""
        parts = [self._persona(number, one) for number, one in enumerate(self.personas)]
        return self._read() + pieces.boxes(parts) + self._arbiter() + self._items()

    def _read(self) -> str:
        """The newest choices, the profile and the day, as the agents are told them."""
        known = self.context
        if known is None:
            return ""
        newest = [event.title for event in reversed(known.events[-_NEWEST:])]
        parts = [pieces.chips(newest)] if newest else []
        parts += [pieces.note(one.text) for one in known.profile[:_STATEMENTS]]
        if known.environment:
            parts.append(pieces.note("The day: " + "; ".join(known.environment)))
        who = f"{len(known.events):,} events, the newest first"
        return pieces.box("What the agents read", who, "".join(parts), "ft-read")

    def _persona(self, number: int, persona: Persona) -> str:
        evidence = [self.titles.get(item_id, item_id) for item_id in persona.evidence]
        own = [tag.text for tag in self.tags if tag.persona == number]
        now = f"<p>Now: {pieces.text(persona.why_now)}</p>" if persona.why_now else ""
        searched = f'<p class="ft-who">would search for</p>{pieces.chips(own)}' if own else ""
        body = (
            f"<p>{pieces.text(persona.description)}</p>{now}"
            f'<p class="ft-who">rests on</p>{pieces.chips(evidence[:_EVIDENCE])}{searched}'
        )
        return pieces.box(persona.name, WHO[persona.source], body, "ft-persona")

    def _arbiter(self) -> str:
        if not self.verdicts:
            return ""
        ordered = sorted(self.verdicts, key=lambda verdict: not verdict.kept)
        rows = [
            (
                pieces.text(one.tag.text, 80) if one.kept else _struck(one.tag.text),
                "kept" if one.kept else "dropped",
                pieces.text(one.reason, 200),
            )
            for one in ordered
        ]
        kept = sum(one.kept for one in self.verdicts)
        head = f"Arbiter: {kept} of {len(self.verdicts)} tags kept"
        listed = pieces.table(("tag", "verdict", "why"), rows, words=True)
        return f"<details><summary>{pieces.text(head)}</summary>{listed}</details>"

    def _items(self) -> str:
        """The items before their cards: titles, and sentences as they come."""
        if not self.page:
            return ""
        rows = [
            f"<li>{pieces.text(one.title, 160)}"
            + (f" · {pieces.text(one.explanation)}" if one.explanation else "")
            + "</li>"
            for one in self.page
        ]
        return pieces.box("Items", "sentences follow", pieces.numbered(rows), "ft-items")


def costs(result: Mapping[str, Any]) -> str:
    """Seconds, tokens, cache hits and fallbacks of each step, with a bar for its share of time."""
    total = max(result["timings_ms"]["total"], 1e-9)
    rows = []
    for node, ms in result["timings_ms"].items():
        spent = result["tokens"].get(node, {"prompt": 0, "cached": 0, "completion": 0})
        fallen = result["fallbacks"].get(node, {"calls": 0, "fallbacks": 0})
        hit = f"{spent['cached'] / spent['prompt']:.0%}" if spent["prompt"] else "–"
        name = NAMES.get(node, node)
        rows.append(
            (
                pieces.text(name),
                f"{ms / 1000:,.2f}",
                "" if node == "total" else pieces.bar(ms / total, f"{ms / total:.0%} of the time"),
                f"{spent['prompt']:,}",
                hit,
                f"{spent['completion']:,}",
                f"{fallen['fallbacks']} of {fallen['calls']}" if fallen["calls"] else "–",
            )
        )
    head = ("step", "seconds", "share", "tokens in", "cache hits", "tokens out", "fallbacks")
    return pieces.table(head, rows)


def _struck(tag: str) -> str:
    return f'<span class="ft-dropped">{pieces.text(tag, 80)}</span>'
