"""The arbiter's choice without a language model: five scores a tag, and no two tags alike.

RecGPT-V2 (arXiv 2512.14503) names relevance, consistency, specificity and validity and leaves their
measures unpublished; here each is a number in [0, 1], and coverage of the personas is the fifth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.objects import Tag, Verdict

SCORES = ("relevance", "consistency", "specificity", "validity", "coverage")


class Limits(NamedTuple):
    """How much two kept tags may find in common.

    Attributes:
        same: share of the finds of either from which two tags say the same.
        others: share of a tag's finds that the kept tags of other personas may find too.
    """

    same: float
    others: float


@dataclass(frozen=True)
class Sheet:
    """What is known about the proposed tags before any is kept.

    Attributes:
        relevance: (tags,) cosine to the recent history.
        consistency: (tags,) cosine to the evidence of the tag's own persona.
        specificity: (tags,) how few items of the catalogue it matches, 1 for one item, 0 for all.
        validity: (tags,) mean cosine of the tag to the best items it finds.
        found: of each tag the rows it finds.
    """

    relevance: NDArray[np.float64]
    consistency: NDArray[np.float64]
    specificity: NDArray[np.float64]
    validity: NDArray[np.float64]
    found: Sequence[frozenset[int]]


def specificity(matches: int, items: int) -> float:
    """idf of a tag as a share of the largest one: log(items / matches) / log(items).

    >>> specificity(1, 100), specificity(100, 100), round(specificity(10, 100), 2)
    (1.0, 0.0, 0.5)
    """
    return float(1 - np.log(max(matches, 1)) / np.log(items)) if items > 1 else 0.0


def common(one: frozenset[int], other: frozenset[int]) -> float:
    """Share of the smaller set of finds that is in both."""
    smaller = min(len(one), len(other))
    return len(one & other) / smaller if smaller else 0.0


@dataclass
class Choice:
    """A choice under way: which tags are in, and what they find.

    Attributes:
        tags: all that were proposed.
        found: of each the rows it finds.
        limits: what two kept tags may have in common.
        kept: places of the kept tags, in the order in which they were taken.
    """

    tags: Sequence[Tag]
    found: Sequence[frozenset[int]]
    limits: Limits
    kept: list[int] = field(default_factory=list)

    def against(self, place: int) -> str | None:
        """Why a tag cannot be kept beside those that are; None when it can."""
        mine, persona = self.found[place], self.tags[place].persona
        for other in self.kept:
            share = common(mine, self.found[other])
            if share >= self.limits.same:
                return f"finds {share:.0%} of the same items as '{self.tags[other].text}'"
        strangers = [self.found[i] for i in self.kept if self.tags[i].persona != persona]
        doubles = len(mine & frozenset().union(*strangers))
        if doubles > self.limits.others * len(mine):
            return f"{doubles} of its {len(mine)} items are found for another persona already"
        return None

    def coverage(self, place: int) -> float:
        """Share of a tag's finds that no kept tag finds."""
        mine = self.found[place]
        seen = frozenset().union(*(self.found[i] for i in self.kept))
        return len(mine - seen) / len(mine) if mine else 0.0

    def heard(self, place: int) -> int:
        """How many kept tags the persona of this one has."""
        return sum(self.tags[i].persona == self.tags[place].persona for i in self.kept)


def choose(
    proposed: Sequence[Tag],
    sheet: Sheet,
    count: int,
    limits: Limits,
    weights: Sequence[float],
) -> list[Verdict]:
    """One joint choice: the best tag of the persona least heard, as long as one may be kept.

    Args:
        proposed: tags of all experts.
        sheet: their scores.
        count: tags to keep at most.
        limits: what two kept tags may have in common.
        weights: of the five `SCORES`, summing to 1.

    Returns:
        A verdict on every tag, in the order of `proposed`, with the five numbers in its reason.
    """
    choice = Choice(proposed, sheet.found, limits)
    rows = [sheet.relevance, sheet.consistency, sheet.specificity, sheet.validity]
    fixed = np.stack(rows, axis=1)  # (tags, 4)
    ruled_out: dict[int, str] = {}
    told: dict[int, str] = {}
    while len(choice.kept) < min(count, len(proposed)):
        open_: list[int] = []
        for place in range(len(proposed)):
            if place in told or place in ruled_out:
                continue
            reason = choice.against(place)
            if reason is None:
                open_.append(place)
            else:
                ruled_out[place] = f"{reason}; {_numbers(fixed[place], choice.coverage(place))}"
        if not open_:
            break
        fewest = min(choice.heard(place) for place in open_)
        turn = [place for place in open_ if choice.heard(place) == fewest]
        coverage = [choice.coverage(place) for place in turn]
        totals = np.column_stack([fixed[turn], coverage]) @ np.asarray(weights)  # (turn,)
        best = int(np.argmax(totals))
        told[turn[best]] = f"best of its persona: {_numbers(fixed[turn[best]], coverage[best])}"
        choice.kept.append(turn[best])
    return [
        Verdict(
            tag=tag,
            kept=place in told,
            reason=told.get(place)
            or ruled_out.get(place)
            or f"{count} others score higher: {_numbers(fixed[place], choice.coverage(place))}",
            source="fallback",
        )
        for place, tag in enumerate(proposed)
    ]


def _numbers(fixed: NDArray[np.float64], coverage: float) -> str:
    scores = zip(SCORES, [*fixed.tolist(), coverage], strict=True)
    return ", ".join(f"{name} {value:.2f}" for name, value in scores)
