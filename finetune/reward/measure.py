"""How well scores tell tiers apart, on groups that were not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foretaste.finetune.reward.data import TIERS

Scores = NDArray[np.float32]
Numbers = NDArray[np.int64]


def right_pairs(scores: Scores, tiers: Numbers) -> tuple[float, int]:
    """Pairs of one group that are scored in the order of their tiers (a tie counts a half), of how many.

    Args:
        scores: (n,)
        tiers: (n,) numbers, the better the higher.

    >>> right_pairs(np.float32([3, 1, 2]), np.array([2, 1, 0]))
    (2.0, 3)
    """
    above = tiers[:, None] > tiers[None, :]
    ahead = scores[:, None] - scores[None, :]
    right = (ahead > 0).astype(float) + 0.5 * (ahead == 0)
    return float(right[above].sum()), int(above.sum())


def auc(scores: Scores, positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve over all answers of all groups; NaN when all are of one kind."""
    from sklearn.metrics import roc_auc_score

    if positive.all() or not positive.any():
        return float("nan")
    return float(roc_auc_score(positive, scores))


def figures(scored: Sequence[tuple[Scores, Numbers]]) -> dict[str, float]:
    """Pairwise accuracy over all tiers and between neighbouring ones, and two AUCs.

    Args:
        scored: of each group (n,) scores and (n,) tiers.

    Returns:
        `pairs`, `pairs_S>A`, `pairs_A>B`, `pairs_S>B`: share of pairs in the right order, inside
        groups; `auc`: S against the rest over all groups; `auc_valid`: S and A against B. A figure
        that these groups cannot give is left out.
    """
    found = {"pairs": _share([right_pairs(*one) for one in scored])}
    names = sorted(TIERS, key=lambda tier: -TIERS[tier])  # S, A, B
    for place, upper in enumerate(names):
        for lower in names[place + 1 :]:
            two = [_only(*one, (TIERS[upper], TIERS[lower])) for one in scored]
            found[f"pairs_{upper}>{lower}"] = _share([right_pairs(*one) for one in two])
    scores = np.concatenate([one for one, _ in scored])
    tiers = np.concatenate([one for _, one in scored])
    found["auc"] = auc(scores, tiers == TIERS["S"])
    found["auc_valid"] = auc(scores, tiers > TIERS["B"])
    return {name: round(value, 4) for name, value in found.items() if np.isfinite(value)}


def _only(scores: Scores, tiers: Numbers, kept: tuple[int, int]) -> tuple[Scores, Numbers]:
    some = np.isin(tiers, kept)
    return scores[some], tiers[some]


def _share(counted: Sequence[tuple[float, int]]) -> float:
    pairs = sum(number for _, number in counted)
    return sum(right for right, _ in counted) / pairs if pairs else float("nan")
