"""From candidates to the page: one relevance over all channels, then the page as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from foretaste.agents.objects import Candidate, Placement, Recommendation
from foretaste.agents.ranking.page import Offer, Page, Placed, lay_out, pool_size
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.running.trace import note
from foretaste.serving.index.fusion import RANK_OFFSET

# Chosen on validation users of two data sets (docs/ranking-page.md): untrained tags order a page
# worse than the rule does, so they only break near ties. A wish outweighs both, and beside a wish
# what is popular only breaks ties. The weight of what is fresh or rises is a setting: of two data sets
# cut in time one gained from more of it and the other lost.
WEIGHTS = {
    "collaborative": 1.0,
    "wish": 2.0,
    "interest": 0.05,
    "towers": 0.05,
    "popular": 0.05,
    "tags": 0.01,
}
PULSE = ("fresh", "trending")
UTILITY = ("collaborative", "wish", "popular")
# Hits per place of the rule's list fall off like place^-0.8 on both sets, and an item that several
# tags found is chosen more often than one of the same place that no tag found.
_FALL = 0.8
_LIFT = 0.4


def rank(
    tools: Tools, candidates: Sequence[Candidate], n: int, draw: int | None = None
) -> list[Recommendation]:
    """The page of n items with the reason for each place; see `page.lay_out`.

    An item's score is the weighted reciprocal-rank sum over its channels, divided by what the
    first place of every channel would give, so that it lies in (0, 1].

    Args:
        tools: catalogue, vectors and settings.
        candidates: what the channels found, each item once.
        n: items wanted.
        draw: seed of what is left to chance; None leaves nothing to it.
    """
    weights = WEIGHTS | dict.fromkeys(PULSE, tools.config.pulse_weight)
    present = {channel for candidate in candidates for channel in candidate.ranks}
    top = sum(weights[channel] for channel in present) / (RANK_OFFSET + 1)
    by_id = {candidate.item_id: candidate for candidate in candidates}
    beyond = tools.config.candidates + 1
    scores = {one.item_id: _score(one, weights) for one in candidates}
    offers = [
        _offer(tools, one, n, scores[one.item_id] / top)
        for one in _contenders(candidates, scores, n, beyond)
    ]
    page = lay_out(offers, n, tools.config, None if draw is None else np.random.default_rng(draw))
    _tell(page)
    return [_line(tools, placed, by_id[placed.offer.item_id], weights) for placed in page.places]


def _contenders(
    candidates: Sequence[Candidate], scores: Mapping[str, float], n: int, beyond: int
) -> list[Candidate]:
    """Those that may come onto the page: the best of what explores, and of the others."""
    room = pool_size(n)
    explorers: list[Candidate] = []
    others: list[Candidate] = []
    for one in candidates:
        (explorers if _explores(one, n) else others).append(one)
    explorers.sort(
        key=lambda one: (-predicted_conversion(one, beyond), one.ranks["tags"], one.item_id)
    )
    others.sort(key=lambda one: (-scores[one.item_id], one.item_id))
    return others[:room] + explorers[:room]


def exploration_share(page: Sequence[Recommendation]) -> float:
    """Share of a page's items that are there as exploration; 0 for an empty page."""
    explored = sum(bool(one.placement and one.placement.explores) for one in page)
    return explored / len(page) if page else 0.0


def predicted_conversion(candidate: Candidate, beyond: int) -> float:
    """How likely the item is chosen, as a share of the chance of the rule's first item.

    place^-0.8 × (tags that found it)^0.4, place being the best one in a channel of utility.

    Args:
        beyond: the place of what no such channel found.

    >>> predicted_conversion(Candidate(item_id="a", ranks={"collaborative": 1}), 201)
    1.0
    """
    place = min(candidate.ranks.get(channel, beyond) for channel in UTILITY)
    return float(place**-_FALL * max(len(candidate.finds), 1) ** _LIFT)


def _offer(tools: Tools, candidate: Candidate, n: int, relevance: float) -> Offer:
    row = tools.dataset.row_of[candidate.item_id]
    explores = _explores(candidate, n)
    wanted = (RANK_OFFSET + 1) / (RANK_OFFSET + candidate.ranks["tags"]) if explores else 0.0
    return Offer(
        item_id=candidate.item_id,
        relevance=relevance,
        conversion=predicted_conversion(candidate, tools.config.candidates + 1),
        explores=explores,
        wanted=wanted,
        vector=tools.vectors[row],
        category=tools.lexicon.categories.rarest(row),
        persona=candidate.personas[0] if candidate.finds else None,
    )


def _line(
    tools: Tools, placed: Placed, candidate: Candidate, weights: Mapping[str, float]
) -> Recommendation:
    offer = placed.offer
    return Recommendation(
        item_id=candidate.item_id,
        title=tools.dataset.titles[tools.dataset.row_of[candidate.item_id]],
        score=round(offer.relevance, 4),
        channel=_channel(candidate, offer.explores, weights),
        tags=candidate.tags[:3],
        placement=Placement(
            relevance=round(offer.relevance, 4),
            ranks=candidate.ranks,
            scores=candidate.scores,
            personas=candidate.personas,
            explores=offer.explores,
            conversion=round(offer.conversion, 4),
            likeness=round(placed.likeness, 4),
            nearest=placed.nearest,
            passed_over=placed.passed_over,
            propensity=round(placed.chances.get(candidate.item_id, 1.0), 6),
            chances={one: round(chance, 6) for one, chance in placed.chances.items()},
        ),
    )


def _tell(page: Page) -> None:
    """The page as a whole, for the trace."""
    note(
        places=len(page.places),
        exploration_share=round(page.exploration_share, 4),
        passed_over=sum(len(placed.passed_over) for placed in page.places),
    )
    if page.allocation is not None:
        note(
            floor_price=round(page.allocation.floor_price, 4),
            count_price=round(page.allocation.count_price, 4),
            exposure=round(float(page.allocation.exposure.sum()), 4),
        )


def _score(candidate: Candidate, weights: Mapping[str, float]) -> float:
    return sum(weights[channel] / (RANK_OFFSET + rank) for channel, rank in candidate.ranks.items())


def _explores(candidate: Candidate, n: int) -> bool:
    """Whether only a tag would put it on the page: not the rule, and not what was wished for."""
    return (
        "tags" in candidate.ranks
        and "wish" not in candidate.ranks
        and candidate.ranks.get("collaborative", n + 1) > n
    )


def _channel(candidate: Candidate, explores: bool, weights: Mapping[str, float]) -> str:
    """The channel that put it on the page: for what explores the agents', else the heaviest."""
    if explores:
        return "tags"
    ranks = candidate.ranks
    return max(ranks, key=lambda name: weights[name] / (RANK_OFFSET + ranks[name]))
