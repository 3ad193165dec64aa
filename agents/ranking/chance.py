"""A little chance in the order of a page, with the probability of every outcome known.

Neighbours change places now and then, so that the log of what was shown can tell what a place does from
what an item is worth (FairPairs, Radlinski and Joachims 2006; the swaps of Joachims, Swaminathan and
Schnabel 2017). A page is parted into pairs of neighbours, from its first or from its second place on with
the same chance, and each pair changes places with the chance `swap`. The first item that missed the page
takes part as its next place. Nothing moves further than one place, so what it costs is small.
"""

from __future__ import annotations

import numpy as np

Chances = dict[int, float]


def exchanged(
    size: int, places: int, swap: float, draw: np.random.Generator
) -> tuple[list[int], list[Chances]]:
    """Which item of an ordered page stands where, by chance.

    Args:
        size: items in order; what comes after `places` missed the page.
        places: of the page, at most `size`.
        swap: chance that a pair changes places.
        draw: where chance comes from.

    Returns:
        (places) for each place the number of its item, and (places) for each place all items that
        may stand there with their probabilities, which sum to 1.

    >>> exchanged(2, 2, 0.0, np.random.default_rng(0))
    ([0, 1], [{0: 1.0}, {1: 1.0}])
    """
    order = list(range(size))
    for first in range(int(draw.integers(2)), size - 1, 2):
        if draw.random() < swap:
            order[first], order[first + 1] = order[first + 1], order[first]
    return order[:places], [chances_at(place, size, swap) for place in range(places)]


def chances_at(place: int, size: int, swap: float) -> Chances:
    """The items that may stand at a place, and how likely each does.

    >>> chances_at(1, 3, 0.5)
    {1: 0.5, 0: 0.25, 2: 0.25}
    """
    neighbours = [one for one in (place - 1, place + 1) if 0 <= one < size] if swap else []
    stays = 1 - swap * len(neighbours) / 2
    found = {place: stays} | dict.fromkeys(neighbours, swap / 2)
    return {one: chance for one, chance in found.items() if chance > 0}
