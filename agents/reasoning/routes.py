"""Independent routes, as RecGPT-V1 (arXiv 2507.22879) had them: what the hierarchy is compared with.

Every route reads the whole history from an angle of its own, twice: once for what the person is
after (interest mining), once for the tags (tag prediction). The lists are united as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.contexts.context import Reader
from foretaste.agents.contexts.liking import tastes_of
from foretaste.agents.objects import Persona, Step, Tag, Verdict
from foretaste.agents.reasoning import expert, planner
from foretaste.agents.reasoning.expert import Proposal
from foretaste.agents.reasoning.tastes import RECENCY, Cluster
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording import prompting
from foretaste.agents.wording.asking import ask_or_fall_back
from foretaste.agents.wording.schemas import ExpertAnswer, PersonaAnswer, with_room
from foretaste.serving.chat import Message


class Angle(NamedTuple):
    """How one route looks at a history: a short name, and what its prompt says."""

    name: str
    said: str


ANGLES = (
    Angle("long-term", "what stays the same over the whole time"),
    Angle("recent", "the newest choices"),
    Angle("frequent", "what comes most often"),
    Angle("today", "what fits today and the time of the year"),
    Angle("adventurous", "what is unusual"),
)
ITEMS = 8  # that a route's persona rests on, as in the schema


def count(tools: Tools, reader: Reader) -> int:
    """How many routes there are: one an angle, at most `config.personas`; none without a history."""
    return min(tools.config.personas, len(ANGLES)) if reader.context.events else 0


async def follow(
    tools: Tools, reader: Reader, number: int, seed: int
) -> tuple[Persona, Proposal, list[Step]]:
    """One route: its persona, then the tags for it; both calls read the history.

    Args:
        tools: of the graph.
        reader: whose history; not an empty one.
        number: which of the `ANGLES`; also the number of its persona.
        seed: of the sampling.
    """
    angle, history = ANGLES[number], planner.history_of(tools, reader)
    persona, mined = await ask_or_fall_back(
        tools.model,
        tools.config,
        node="route_persona",
        label=angle.name,
        messages=lambda: persona_messages(reader, history.text, number),
        schema=PersonaAnswer,
        max_tokens=planner.TOKENS_EACH + 32,
        check=lambda answer: planner.checked([answer], history, tools)[0],
        fallback=lambda: seen_from(tools, reader, number),
        seed=seed,
        embeds=True,
    )
    proposal, predicted = await ask_or_fall_back(
        tools.model,
        tools.config,
        node="route_tags",
        label=angle.name,
        messages=lambda: tags_messages(tools, reader, history.text, persona),
        schema=with_room(ExpertAnswer, tools.config.tags),
        max_tokens=expert.TOKENS_EACH * tools.config.tags,
        check=lambda answer: expert.completed(answer, tools, reader, persona, number),
        fallback=lambda: expert.grounded_tags(tools, reader, persona, number, tools.config.tags),
        seed=seed,
    )
    return persona, proposal, [mined, predicted]


def persona_messages(reader: Reader, history: str, number: int) -> tuple[Message, ...]:
    """A route's first prompt: the whole history and the angle to look from."""
    return prompting.messages(
        "route_persona",
        context=prompting.context_lines(reader.context),
        history=history,
        angle=ANGLES[number].said,
    )


def tags_messages(
    tools: Tools, reader: Reader, history: str, persona: Persona
) -> tuple[Message, ...]:
    """A route's second prompt: the whole history again, and the persona it found."""
    return prompting.messages(
        "route_tags",
        context=prompting.context_lines(reader.context),
        history=history,
        persona=expert.persona_line(persona),
        tags=tools.config.tags,
        examples=expert.examples(tools, persona.evidence),
    )


def seen_from(tools: Tools, reader: Reader, number: int) -> Persona:
    """The grounded twin of interest mining: the items that stand out from one angle."""
    newest = list(dict.fromkeys(tastes_of(tools.dataset, reader).rows[::-1].tolist()))
    weights = _weights(tools, reader, newest, ANGLES[number].name)
    best = np.argsort(-weights, kind="stable")[:ITEMS]
    rows = tuple(newest[place] for place in sorted(best.tolist()))  # newest first
    persona = planner.persona_of(tools, reader, Cluster(rows, float(weights[best].sum())))
    name = f"{ANGLES[number].name}: {persona.name}"[:60]
    return persona.model_copy(update={"name": name})


def _weights(tools: Tools, reader: Reader, newest: list[int], angle: str) -> NDArray[np.float64]:
    """(items,) how much each item of the history, newest first, stands out from an angle."""
    vectors = tools.vectors[newest].astype(np.float64)
    centre = vectors.mean(axis=0)
    if angle == "long-term":
        return np.asarray(vectors @ centre)
    if angle == "adventurous":
        return np.asarray(-(vectors @ centre))
    if angle == "frequent":
        held = [tools.dataset.categories_of(row) for row in newest]
        counts = Counter(name for names in held for name in set(names))
        return np.array([max((counts[name] for name in names), default=0) for names in held], float)
    fresh = RECENCY ** np.arange(len(newest))
    said = " ".join([*reader.context.environment, reader.context.wish or ""]).strip()
    if angle == "today" and said:
        return np.asarray(vectors @ tools.embedder.encode([said])[0] * fresh)
    return np.asarray(fresh)


def united(tags: Sequence[Tag]) -> list[Verdict]:
    """The routes' tags as they are: nobody compares them."""
    reason = "routes are united as they are"
    return [Verdict(tag=tag, kept=True, reason=reason, source=tag.source) for tag in tags]
