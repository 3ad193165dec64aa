"""How much exploration a page may carry: the exact solution of a small quadratic programme.

RecGPT-V2 (arXiv 2512.14503) divides exposure between an exploratory and a utility channel by

    maximise   sum_i s_i x_i - (strength / 2) sum_i x_i^2
    subject to sum_i (o_i - floor) x_i >= 0,   least <= sum_i x_i <= most,   0 <= x_i <= 1

s_i being what showing item i is worth, o_i its predicted conversion, floor the conversion that must
be kept. The conditions of Karush, Kuhn and Tucker give `x_i = clip(h_i / strength, 0, 1)` with
`h_i = s_i + a (o_i - floor) + r`, a >= 0 the price of the floor, r that of the count. The paper
leaves open how a and r are found. Here both are found exactly: for a given a the count is a
piecewise linear, rising function of r, solved between its sorted breakpoints; with r so chosen, the
surplus over the floor is a piecewise linear, rising function of a (the slope of the dual), whose
root is found on the piece it lies in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foretaste.data.errors import InputError

Numbers = NDArray[np.float64]
_HALVINGS = 200  # more than float64 can tell apart
_EXACT = 1e-12  # of the largest possible surplus: what counts as none


@dataclass(frozen=True)
class Allocation:
    """The best exposures under the floor and the count.

    Attributes:
        exposure: (n,) float64 in [0, 1], the x_i.
        worth: (n,) float64, the h_i; the largest are shown first.
        floor_price: a, at least 0; 0 when the floor costs nothing.
        count_price: r; above 0 when the least count binds, below 0 when the most does.
        strength: the lambda of the programme.
    """

    exposure: Numbers
    worth: Numbers
    floor_price: float
    count_price: float
    strength: float

    @property
    def shown(self) -> NDArray[np.bool_]:
        """(n,) bool, the production rule of the paper: an item is shown when h_i >= strength.

        Then its exposure is 1: nothing is shown in part.
        """
        return self.worth >= self.strength * (1 - 1e-9)


def allocate(
    value: Numbers,
    conversion: Numbers,
    floor: float,
    least: float = 0.0,
    most: float = np.inf,
    strength: float = 0.1,
) -> Allocation:
    """Solve the programme above.

    Args:
        value: (n,) s_i, what showing each item is worth, in any unit.
        conversion: (n,) o_i, predicted conversion.
        floor: conversion that the exposure must reach on average.
        least: smallest sum of exposures.
        most: largest sum of exposures.
        strength: lambda, above 0, in the unit of `value`: small shows few items wholly, large
            spreads the exposure.

    Returns:
        Exposures that keep the floor to within rounding.

    Raises:
        InputError: numbers that are not finite, or limits that no exposure can keep.

    >>> found = allocate(np.array([1.0, 0.5]), np.array([0.1, 0.3]), floor=0.2, strength=1.0)
    >>> found.exposure.round(3).tolist(), round(found.floor_price, 3)
    ([0.75, 0.75], 2.5)
    """
    value, surplus = _checked(value, conversion, floor, least, most, strength)
    most = min(most, float(len(value)))
    scale = float(np.abs(surplus).sum())
    if _largest_surplus(surplus, least, most) < -_EXACT * scale:
        raise InputError(
            f"No exposure of {least:g} to {most:g} items keeps a conversion of {floor:g}; "
            "lower the floor or the least count."
        )
    price = _floor_price(value, surplus, least, most, strength)
    count_price = _count_price(value + price * surplus, least, most, strength)
    worth = value + price * surplus + count_price
    return Allocation(np.clip(worth / strength, 0.0, 1.0), worth, price, count_price, strength)


def _checked(
    value: Numbers, conversion: Numbers, floor: float, least: float, most: float, strength: float
) -> tuple[Numbers, Numbers]:
    """The values and o_i - floor, as float64."""
    value = np.asarray(value, dtype=np.float64)
    surplus = np.asarray(conversion, dtype=np.float64) - floor
    if value.ndim != 1 or value.shape != surplus.shape:
        raise InputError(
            f"One value and one conversion an item were expected, got arrays of shape "
            f"{value.shape} and {surplus.shape}."
        )
    if not (np.isfinite(value).all() and np.isfinite(surplus).all()):
        raise InputError("Values, conversions and the floor must be finite numbers.")
    if not (np.isfinite(strength) and strength > 0):
        raise InputError(f"A strength above 0 was expected, not {strength:g}.")
    if not 0 <= least <= min(most, len(value)):
        raise InputError(
            f"A count range within 0 to {len(value)} items was expected, not {least:g} to {most:g}."
        )
    return value, surplus


def _largest_surplus(surplus: Numbers, least: float, most: float) -> float:
    """The largest sum of surplus that the count range allows: the best items first."""
    ordered = np.sort(surplus)[::-1]
    room = np.clip(most - np.arange(len(ordered)), 0.0, 1.0)  # (n,) exposure left for each
    forced = np.clip(least - np.arange(len(ordered)), 0.0, 1.0)
    return float((ordered * np.where(ordered > 0, room, forced)).sum())


def _count_price(base: Numbers, least: float, most: float, strength: float) -> float:
    """The r nearest to 0 at which sum clip((base + r) / strength, 0, 1) lies in the range."""
    count = float(np.clip(base / strength, 0.0, 1.0).sum())
    if least <= count <= most:
        return 0.0
    wanted = least if count < least else most
    points = np.sort(np.concatenate([-base, strength - base]))  # (2n,) where an item starts or ends
    starts, ends = np.sort(-base), np.sort(strength - base)
    # Count at a point: items already whole, and those under way by how far they are.
    begun = np.searchsorted(starts, points, side="right")
    whole = np.searchsorted(ends, points, side="right")
    begun_sum = np.concatenate([[0.0], np.cumsum(starts)])[begun]
    whole_sum = np.concatenate([[0.0], np.cumsum(ends)])[whole]
    under_way = (points * (begun - whole) - (begun_sum - (whole_sum - strength * whole))) / strength
    counts = whole + under_way  # (2n,) rising
    place = int(np.searchsorted(counts, wanted))
    if place == 0:
        return float(points[0])
    if place == len(points):
        return float(points[-1])
    low, high = counts[place - 1], counts[place]
    share = (wanted - low) / (high - low)
    return float(points[place - 1] + share * (points[place] - points[place - 1]))


def _floor_price(
    value: Numbers, surplus: Numbers, least: float, most: float, strength: float
) -> float:
    """The smallest a >= 0 at which the best exposures keep the floor.

    The interval that holds the root is halved until the root lies on the piece that its upper end
    is on; there one division gives it. Only finitely many pieces exist, so this ends.
    """
    exact = _EXACT * max(float(np.abs(surplus).sum()), np.finfo(float).tiny)

    def at(price: float) -> tuple[float, float]:
        return _surplus_and_slope(value + price * surplus, surplus, least, most, strength)

    if at(0.0)[0] >= -exact:
        return 0.0
    low, high = 0.0, max(strength, float(np.ptp(value)) or 1.0) / float(np.abs(surplus).max())
    for _ in range(_HALVINGS):
        if at(high)[0] >= -exact:
            break
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        excess, slope = at(high)
        if abs(excess) <= exact:
            break
        step = high - excess / slope if slope > 0 else low
        if low < step < high and abs(at(step)[0]) <= exact:
            return step
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (low, middle) if at(middle)[0] >= -exact else (middle, high)
    return high


def _surplus_and_slope(
    base: Numbers, surplus: Numbers, least: float, most: float, strength: float
) -> tuple[float, float]:
    """Surplus of the best exposures at base = s + a (o - floor), and how fast it rises with a."""
    count_price = _count_price(base, least, most, strength)
    worth = base + count_price
    partly = surplus[(worth > 0) & (worth < strength)]  # items that a change of a moves
    if count_price and len(partly):
        partly = partly - partly.mean()  # the count stays as it is
    exposure = np.clip(worth / strength, 0.0, 1.0)
    return float(surplus @ exposure), float(partly @ partly) / strength
