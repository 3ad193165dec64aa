"""What the place and the popularity of an item did to its reward, estimated on the log.

The model of the reward r of item i for user u at place k is

    E[r] = place_k · (popularity_i)^slope · taste(u, i)

* `place_k`, the chance that the place is looked at, comes from places that were left to chance
  (intervention harvesting, Agarwal et al. 2019, "Estimating position bias without intrusive
  interventions"): of two neighbouring places only items count that might have stood at either, each
  over its chance. Both places then held the same items, and the ratio of their rewards is the ratio of
  the places. No assumption about who ranked what is needed.
* `slope` comes from a Poisson regression of r on the logarithm of the item's interactions, with the
  logarithm of place_k as its offset.

A reward over both is free of them in expectation (inverse propensity weighting, Joachims, Swaminathan
and Schnabel 2017). What everybody loves alike goes with the popularity: what is left is about the person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_STEPS = 50  # of Newton
_SPREAD = 0.3  # standard deviation of the slope before anything is seen


@dataclass(frozen=True)
class Place:
    """One place of one page.

    Attributes:
        item_id: what was shown there.
        reward: in [0, 1].
        chances: item id → the chance of every item that might have stood there.
    """

    item_id: str
    reward: float
    chances: dict[str, float]


@dataclass(frozen=True)
class Positions:
    """What places do.

    Attributes:
        effects: (places,) how likely each is looked at, the first 1.
        by_chance: impressions that the effects rest on; with none of them all effects are 1.
    """

    effects: Floats
    by_chance: int


def position_effects(pages: Sequence[Sequence[Place]], prior: float) -> Positions:
    """The effects of places.

    Args:
        pages: places from the top.
        prior: loved items for which two neighbouring places count as alike.

    >>> swap = {"a": 0.5, "b": 0.5}
    >>> pages = [[Place("a", 1.0, swap), Place("b", 0.0, swap)]] * 3
    >>> pages += [[Place("b", 1.0, swap), Place("a", 1.0, swap)]]
    >>> position_effects(pages, 0.0).effects.tolist()  # 4 loved of 4 at the top, 1 of 4 below
    [1.0, 0.25]
    """
    size = max((len(page) for page in pages), default=0)
    paid, seen = np.zeros((max(size - 1, 0), 2)), np.zeros((max(size - 1, 0), 2))
    count = 0
    for page in pages:
        for first, (upper, lower) in enumerate(pairwise(page)):
            either = upper.chances.keys() & lower.chances.keys()
            for side, place in enumerate((upper, lower)):
                if place.item_id in either:
                    weight = 1 / place.chances[place.item_id]
                    paid[first, side] += weight * place.reward
                    seen[first, side] += weight
                    count += 1
    mean = paid.sum(axis=1) / np.maximum(seen.sum(axis=1), 1e-12)  # (places - 1,)
    alike = (prior / np.maximum(mean, 1e-12))[:, None]  # impressions that bring so many
    rates = (paid + prior) / np.maximum(seen + alike, 1e-12)
    known = (rates > 0).all(axis=1)
    ratios = np.ones(len(rates))
    ratios[known] = rates[known, 1] / rates[known, 0]
    return Positions(np.concatenate([[1.0], np.cumprod(ratios)]), count)


def popularity_slope(rewards: Floats, places: Floats, popularity: Floats) -> float:
    """The exponent of popularity in the reward.

    Args:
        rewards: (n,) in [0, 1].
        places: (n,) effect of the place of each, above 0.
        popularity: (n,) logarithm of each item's interactions; any unit and origin.

    Returns:
        0 when there is nothing to learn it from. A normal prior draws it towards 0.
    """
    if not rewards.any() or np.ptp(popularity) == 0:
        return 0.0
    x = np.column_stack([np.ones(len(rewards)), popularity - popularity.mean()])  # (n, 2)
    found = np.array([np.log(rewards.sum() / places.sum()), 0.0])
    prior = np.array([0.0, 1 / _SPREAD**2])
    for _ in range(_STEPS):
        expected = places * np.exp(np.clip(x @ found, -30, 30))
        slope = x.T @ (rewards - expected) - prior * found
        curve = (x * expected[:, None]).T @ x + np.diag(prior)
        step = np.clip(np.linalg.solve(curve, slope), -1, 1)
        found = found + step
        if np.abs(step).max() < 1e-10:
            break
    return float(found[1])


def weights(
    rewards: Floats, places: Floats, popularity: Floats, slope: float, most: float
) -> Floats:
    """(n,) reward over the effects of place and popularity, the loved ones at a mean of 1.

    Args:
        rewards, places, popularity: as in `popularity_slope`.
        slope: of the popularity.
        most: largest weight: it bounds what one lucky find at a hidden place can say.
    """
    free = rewards / (places * np.exp(slope * (popularity - popularity.mean())))
    some = free > 0
    if some.any():
        free = free / free[some].mean()
    return np.asarray(np.minimum(free, most))
