"""The rewards of an expert's tags and how they become one number (RecGPT-V2, arXiv 2512.14503, 3.2).

Plain functions: what they need (categories, vectors, scores of the reward model) is worked out by
`scoring.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

GATES = ("alignment", "diversity", "length")


@dataclass(frozen=True)
class Rewards:
    """What one answer earns, each in [0, 1] (diversity in [0, 2]).

    Attributes:
        accuracy: R_acc, see `accuracy`.
        alignment: R_align, see `alignment`.
        diversity: R_div, see `diversity`.
        length: R_len, see `length`.
    """

    accuracy: float
    alignment: float
    diversity: float
    length: float


#: What an answer earns that cannot be read or holds no tag: it passes no gate that lets others out.
NOTHING = Rewards(0.0, 0.0, 0.0, 0.0)


class Thresholds(BaseModel, frozen=True):
    """τ of the gates; an answer passes a gate with at least that much."""

    alignment: float
    diversity: float
    length: float


def accuracy(found: Collection[int], wanted: Collection[int]) -> float:
    """R_acc = |C_gt ∩ tag2cat(T)| / |C_gt|: recall of the categories that came next.

    Args:
        found: categories of the tags.
        wanted: categories of what was chosen next; 0 comes back without any.

    >>> accuracy([3, 5, 5], [5, 7])
    0.5
    """
    right = set(wanted)
    return len(right & set(found)) / len(right) if right else 0.0


def alignment(scores: Sequence[float] | NDArray[np.float32]) -> float:
    """R_align: mean over the tags of the reward model's score, through the sigmoid.

    Args:
        scores: (tags,) before the sigmoid.

    >>> alignment([0.0])
    0.5
    """
    if not len(scores):
        return 0.0
    return float((1 / (1 + np.exp(-np.asarray(scores, dtype=np.float64)))).mean())


def diversity(vectors: NDArray[np.float32]) -> float:
    """R_div: mean cosine distance over the pairs of tags; 0 for fewer than two.

    Args:
        vectors: (tags, d) of unit length.

    >>> diversity(np.eye(2, dtype=np.float32))
    1.0
    """
    count = len(vectors)
    if count < 2:
        return 0.0
    total = np.asarray(vectors, dtype=np.float64).sum(axis=0)
    pairs = (total @ total - count) / (count * (count - 1))  # mean cosine of two different tags
    return float(1 - pairs)


def length(tags: Sequence[str], full: tuple[int, int], half: tuple[int, int]) -> float:
    """R_len: mean over the tags; 1 for a number of words in `full`, 0.5 in `half`, else 0.

    RecGPT-V2 counts Chinese words (6 to 11 full, 4 to 13 half). A tag of ours is a modifier and a core
    word of a language with spaces, hence other ranges, which are settings (`grpo.full`, `grpo.half`).

    Args:
        tags: their texts.
        full, half: smallest and largest number of words, both included.

    >>> length(["light snack", "snack"], (2, 4), (1, 6))
    0.75
    """
    if not tags:
        return 0.0
    counts = [len(tag.split()) for tag in tags]
    earned = [
        1.0 if full[0] <= n <= full[1] else 0.5 if half[0] <= n <= half[1] else 0.0 for n in counts
    ]
    return sum(earned) / len(earned)


def passed(rewards: Rewards, thresholds: Thresholds) -> dict[str, bool]:
    """Gate → whether the answer passes it."""
    return {gate: getattr(rewards, gate) >= getattr(thresholds, gate) for gate in GATES}


def constrained(rewards: Rewards, thresholds: Thresholds) -> float:
    """Constrained reward shaping: R = R_acc · 1[R_align ≥ τa] · 1[R_div ≥ τd] · 1[R_len ≥ τl].

    >>> constrained(Rewards(0.5, 0.9, 0.4, 1.0), Thresholds(alignment=0.5, diversity=0.3, length=0.5))
    0.5
    """
    return rewards.accuracy if all(passed(rewards, thresholds).values()) else 0.0


def weighted_sum(rewards: Rewards, weights: Mapping[str, float]) -> float:
    """SUM, which constrained shaping is compared with: Σ weight · reward.

    Args:
        rewards: of an answer.
        weights: by the names of the rewards; one that is missing counts 0.

    >>> weighted_sum(Rewards(0.5, 0.25, 0.5, 1.0), {"accuracy": 1, "alignment": 2})
    1.0
    """
    return float(sum(weight * getattr(rewards, name) for name, weight in weights.items()))


def quantiles(samples: Sequence[Rewards], share: float) -> Thresholds:
    """τ such that about a share `share` of what the first model writes fails each gate.

    τ is unpublished; quantiles of the supervised model's own distribution keep the gates in reach.

    Args:
        samples: rewards of answers of the model before reinforcement.
        share: in [0, 1].
    """
    found = {gate: [getattr(one, gate) for one in samples] for gate in GATES}
    lower = {gate: np.quantile(own, share, method="lower") for gate, own in found.items()}
    return Thresholds(**{gate: float(value) for gate, value in lower.items()})
