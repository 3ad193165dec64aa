"""Categories that the arbiter may choose from beside the experts' tags: what others chose next.

The leaf categories of what the collaborative channel finds, and of the person's own choices, as tags.
An expert knows one persona; these say where people with the same choices went, so that the arbiter's
choice is a ranking over both.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from foretaste.agents.contexts.context import Reader
from foretaste.agents.objects import Persona, Tag
from foretaste.agents.retrieval import channels
from foretaste.agents.retrieval.tools import Tools

# Chosen on 2,000 validation users of amazon-beauty: HR@5/10 .377/.494, where the categories of the
# best finds in their own order have .317/.433 and the person's own, newest first, .303/.412.
OWN = 0.15  # weight of the person's own categories beside those of the finds
FADES = 0.95  # of an own choice, one place older
OTHERS, BEFORE = "others chose it", "chosen before"


def ranked_leaves(tools: Tools, reader: Reader) -> dict[str, list[int]]:
    """Leaf categories, the likeliest next first, each with the found rows that speak for it.

    A find at rank r weighs 1/√r. Only categories of items that may be shown stand here.
    """
    finds = channels.collaborative(tools, reader).rows
    shares: dict[str, float] = defaultdict(float)
    found: dict[str, list[int]] = defaultdict(list)
    weights = 1 / np.sqrt(np.arange(1, len(finds) + 1))
    for row, weight in zip(finds, weights / max(weights.sum(), 1e-9), strict=True):
        if names := tools.dataset.categories_of(row):
            shares[names[-1]] += (1 - OWN) * float(weight)
            found[names[-1]].append(row)
    newest = reader.rows[::-1]
    ages = FADES ** np.arange(len(newest))
    for row, weight in zip(newest.tolist(), ages / max(ages.sum(), 1e-9), strict=True):
        names = tools.dataset.categories_of(row)
        if names and (names[-1] in found or _on_offer(tools, reader, names[-1])):
            shares[names[-1]] += OWN * float(weight)
    best = sorted(shares, key=lambda name: (-shares[name], name))
    return {name: found.get(name, []) for name in best}


def tags(tools: Tools, reader: Reader, personas: list[Persona]) -> list[Tag]:
    """The first `config.offered` of these categories, each for the persona it is most like."""
    if not tools.config.offered or not personas:
        return []
    sides = np.stack(
        [tools.vectors[tools.dataset.rows(list(one.evidence))].mean(axis=0) for one in personas]
    )  # (personas, d)
    own = {names[-1] for row in reader.rows if (names := tools.dataset.categories_of(int(row)))}
    made = []
    for name, rows in list(ranked_leaves(tools, reader).items())[: tools.config.offered]:
        about = tools.vectors[rows] if rows else tools.embedder.encode([name])
        persona = int(np.argmax(sides @ about.mean(axis=0)))
        reason = BEFORE if name in own else OTHERS
        made.append(Tag(text=name[:60], persona=persona, reason=reason, source="fallback"))
    return made


def _on_offer(tools: Tools, reader: Reader, name: str) -> bool:
    carriers = tools.lexicon.categories.carriers(name)
    return bool(reader.allowed[carriers[carriers < len(reader.allowed)]].any())
