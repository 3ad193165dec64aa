"""The senior reviewer's rule: defects first, then excellence (RecGPT-V2, arXiv 2512.14503, section 6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from foretaste.judge.objects import POINTS, TIERS, Mark, Tier


def tier_of(marks: Sequence[Mark], excellent: float) -> Tier:
    """B with any negative mark; else S when the share of positive marks is τ or more, else A.

    Args:
        marks: one a dimension, at least one.
        excellent: τ, in (0, 1].

    >>> tier_of(["positive", "positive", "negative"], 0.5), tier_of(["positive", "acceptable"], 0.5)
    ('B', 'S')
    """
    if "negative" in marks:
        return "B"
    share = sum(mark == "positive" for mark in marks) / len(marks)
    return "S" if share >= excellent else "A"


def score_of(marks: Iterable[Mark]) -> float:
    """The mean of the marks in [0, 1]: negative 0, acceptable 0.5, positive 1.

    >>> score_of(["positive", "acceptable"])
    0.75
    """
    points = [POINTS[mark] for mark in marks]
    return round(sum(points) / len(points), 4)


def lower_of(one: Tier, other: Tier) -> Tier:
    """The worse of two tiers: a reviewer may only lower.

    >>> lower_of("A", "S"), lower_of("A", "B")
    ('A', 'B')
    """
    return max(one, other, key=TIERS.index)
