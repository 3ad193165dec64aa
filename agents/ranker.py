"""From candidates to the page: fuse the channels, keep a share of the page for exploration."""

from __future__ import annotations

from foretaste.agents.config import AgentsConfig
from foretaste.agents.objects import Candidate, Recommendation
from foretaste.serving.index.fusion import RANK_OFFSET

# Chosen on validation users of two data sets (docs/log.md): untrained tags order a page worse than
# the rule does, so they decide little more than what explores. A wish outweighs both, and beside a
# wish what is popular only breaks ties.
WEIGHTS = {"collaborative": 1.0, "popular": 0.05, "tags": 0.05, "wish": 2.0}
UTILITY = "collaborative"


def rank(
    candidates: list[Candidate], titles: dict[str, str], n: int, config: AgentsConfig
) -> list[Recommendation]:
    """The page of n items, best first.

    An item's score is the weighted reciprocal-rank sum over its channels, divided by what the
    first place of every channel would give, so that it lies in (0, 1]. `config.exploration` of
    the page is kept for items that the agents found outside the first n of the collaborative
    channel, as far as there are such items.

    Args:
        candidates: what the channels found.
        titles: item id → title.
        n: items wanted.
        config: the share that explores.
    """
    present = {channel for candidate in candidates for channel in candidate.ranks}
    top = sum(WEIGHTS[channel] for channel in present) / (RANK_OFFSET + 1)
    scores = {candidate.item_id: _score(candidate) for candidate in candidates}
    ordered = sorted(
        candidates, key=lambda c: (-scores[c.item_id], min(c.ranks.values()), c.item_id)
    )
    parted: dict[bool, list[Candidate]] = {True: [], False: []}
    for candidate in ordered:
        parted[_explores(candidate, n)].append(candidate)
    explorers, known = parted[True], parted[False]
    share = max(min(round(config.exploration * n), len(explorers)), n - len(known))
    page = known[: n - share] + explorers[:share]
    page.sort(key=lambda c: (-scores[c.item_id], c.item_id))
    return [
        Recommendation(
            item_id=candidate.item_id,
            title=titles[candidate.item_id],
            score=round(scores[candidate.item_id] / top, 4),
            channel=_channel(candidate, n),
            tags=candidate.tags[:3],
        )
        for candidate in page
    ]


def _score(candidate: Candidate) -> float:
    return sum(WEIGHTS[channel] / (RANK_OFFSET + rank) for channel, rank in candidate.ranks.items())


def _explores(candidate: Candidate, n: int) -> bool:
    """Whether only a tag would put it on the page: not the rule, and not what was wished for."""
    return (
        "tags" in candidate.ranks
        and "wish" not in candidate.ranks
        and candidate.ranks.get(UTILITY, n + 1) > n
    )


def _channel(candidate: Candidate, n: int) -> str:
    """The channel that put it on the page: for what explores the agents', else the heaviest."""
    channels = [name for name in candidate.ranks if name != UTILITY or not _explores(candidate, n)]
    return max(channels, key=lambda name: WEIGHTS[name] / (RANK_OFFSET + candidate.ranks[name]))
