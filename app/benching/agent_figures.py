"""The figures of one mode as sums over people, so that every one of them can be resampled.

A figure is a part over a whole, both summed over people: a mean where the whole is 1 each, a share
of candidates, tags, calls or tokens where it is their number. docs/agents-bench.md defines each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.objects import Candidate, Tag
from foretaste.app.benching.agent_cases import Asked
from foretaste.app.benching.agent_runs import PAGE, WIDE, Outcome
from foretaste.judge.intent.leaves import leaves, nearest
from foretaste.serving.rules.ranking import Standing

Floats = NDArray[np.float64]
OTHERS = ("collaborative", "interest")  # channels that a find must be missed by to be exclusive


class Ratio(NamedTuple):
    """One figure: `part.sum() / whole.sum()`, each (users,) float64."""

    part: Floats
    whole: Floats

    @classmethod
    def mean(cls, values: Sequence[float] | Floats) -> Ratio:
        """The mean of one value a user."""
        part = np.asarray(values, dtype=np.float64)
        return cls(part, np.ones(len(part)))

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, float]]) -> Ratio:
        """From (part, whole) of each user."""
        both = np.asarray(pairs, dtype=np.float64).reshape(-1, 2)
        return cls(both[:, 0], both[:, 1])

    def value(self) -> float | None:
        """The figure; None when there is nothing to divide by."""
        whole = float(self.whole.sum())
        return float(self.part.sum()) / whole if whole else None


Ratios = dict[str, Ratio]


def quality(asked: Asked, outcomes: Sequence[Outcome]) -> Ratios:
    """duplicate_rate, exclusive_recall, recall, tag_validity, tags, r@10 and n@10 of the page.

    Args:
        asked: the first of its people are those of `outcomes`.
        outcomes: of one mode.
    """
    targets = asked.target_ids()[: len(outcomes)]
    found = [_target(one, target) for one, target in zip(outcomes, targets, strict=True)]
    lexicon = asked.tools.lexicon
    matches = cache(lambda text: len(lexicon.matching(text)) > 0)
    return {
        "duplicate_rate": Ratio.of([duplicates(one.candidates) for one in outcomes]),
        "exclusive_recall": Ratio.mean([exclusive(one) for one in found]),
        "recall": Ratio.mean([one is not None and "tags" in one.ranks for one in found]),
        "tag_validity": Ratio.of(
            [(sum(matches(tag.text) for tag in one.tags), len(one.tags)) for one in outcomes]
        ),
        "tags": Ratio.mean([len(one.tags) for one in outcomes]),
        **_at_ten(
            [_place(one.page, target) for one, target in zip(outcomes, targets, strict=True)]
        ),
    }


def channels(asked: Asked, outcomes: Sequence[Outcome]) -> dict[str, Ratios]:
    """r@10 and n@10 of every channel alone, from the place that each gave the target."""
    targets = asked.target_ids()[: len(outcomes)]
    found = [_target(one, target) for one, target in zip(outcomes, targets, strict=True)]
    names = {name for one in outcomes for candidate in one.candidates for name in candidate.ranks}
    return {
        name: _at_ten([one.ranks.get(name, 0) - 1 if one else -1 for one in found])
        for name in sorted(names)
    }


def duplicates(candidates: Sequence[Candidate]) -> tuple[int, int]:
    """How many places in the personas' lists are repetitions, and how many there are.

    A persona's (or route's) list is what its kept tags found, each item once, of what the agents'
    channel hands on. With all lists laid side by side the duplicate rate is 1 - distinct / total,
    the share of RecGPT-V2 (arXiv 2512.14503), section 3, where routes of RecGPT-V1 have 13.46 %.

    Returns:
        (total - distinct, total).
    """
    sizes = [len(one.personas) for one in candidates if one.finds]
    return sum(sizes) - len(sizes), sum(sizes)


def exclusive(target: Candidate | None) -> bool:
    """Whether the agents' channel alone found what was chosen next, of it and the `OTHERS`."""
    return target is not None and "tags" in target.ranks and not target.ranks.keys() & set(OTHERS)


def leaf_hits(asked: Asked, outcomes: Sequence[Outcome]) -> Ratio:
    """tag_hr: people whose target's leaf category is the nearest one of some kept tag.

    A leaf is the last category of an item's list. People whose target has none do not count.
    """
    names, leaf = leaves(asked.tools.dataset)
    said = list(dict.fromkeys(tag.text for one in outcomes for tag in one.tags[:WIDE]))
    near = dict(zip(said, nearest(asked.tools.embedder, names, said).tolist(), strict=True))

    def hit(tags: Sequence[Tag], place: int) -> bool:
        return any(near[tag.text] == place for tag in tags[:WIDE])

    places = leaf[asked.targets[: len(outcomes)]].tolist()
    return Ratio.of(
        [
            (place >= 0 and hit(one.tags, place), place >= 0)
            for one, place in zip(outcomes, places, strict=True)
        ]
    )


def cost(outcomes: Sequence[Outcome]) -> Ratios:
    """Tokens a user, and the shares of cached tokens and of calls that fell back."""
    sent = [sum(step.prompt for step in one.steps) for one in outcomes]
    cached = [sum(step.cached for step in one.steps) for one in outcomes]
    calls = [len(one.steps) for one in outcomes]
    fallen = [sum(step.fallback is not None for step in one.steps) for one in outcomes]
    return {
        "sent": Ratio.mean(sent),
        "computed": Ratio.mean([all_ - held for all_, held in zip(sent, cached, strict=True)]),
        "written": Ratio.mean([sum(step.completion for step in one.steps) for one in outcomes]),
        "calls": Ratio.mean(calls),
        "intents": Ratio.mean([one.intents for one in outcomes]),
        "prefix_hit_rate": Ratio.of(list(zip(cached, sent, strict=True))),
        "fallback_rate": Ratio.of(list(zip(fallen, calls, strict=True))),
    }


def _target(outcome: Outcome, target: str) -> Candidate | None:
    return next((one for one in outcome.candidates if one.item_id == target), None)


def _place(page: Sequence[str], target: str) -> int:
    return page.index(target) if target in page else -1


def _at_ten(places: Sequence[int]) -> Ratios:
    """Recall and NDCG from places that begin at 0; -1 for a target that is not in the list."""
    better = np.array([place if place >= 0 else PAGE for place in places], dtype=np.int64)
    standing = Standing(better, np.ones_like(better))
    return {"r@10": Ratio.mean(standing.recall(PAGE)), "n@10": Ratio.mean(standing.ndcg(PAGE))}
