"""L = L_col + 0.5 L_tag + 0.5 L_cate, each a softmax over sampled items.

RecGPT-V2 (arXiv 2512.14503) trains its user, item and tag towers by this sum; how the sums over all
items are sampled is not published. Here a step shares one set of candidates: its own targets and items
drawn uniformly, corrected for how likely each is to be among them (Bengio and Senécal 2008; Yi et al.
2019, RecSys, "Sampling-bias-corrected neural modeling").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Candidates:
    """Items that a step compares.

    Attributes:
        rows: (c,) item rows, each once, sorted.
        correction: (c,) float32, log of the chance that the item is among the candidates.
    """

    rows: Ints
    correction: Any

    def place(self, targets: Ints) -> Any:
        """(n,) where each target stands among the candidates."""
        return torch.as_tensor(np.searchsorted(self.rows, targets))


def candidates(
    targets: Ints, shares: NDArray[np.float64], negatives: int, draw: np.random.Generator
) -> Candidates:
    """The targets of a step, and `negatives` items drawn uniformly with replacement.

    Args:
        targets: (n,) item rows.
        shares: (items,) how often each item is a target, summing to 1.
        negatives: how many are drawn.
        draw: draws them.
    """
    drawn = draw.integers(len(shares), size=negatives)
    rows = np.unique(np.concatenate([targets, drawn]))
    expected = len(targets) * shares[rows] + negatives / len(shares)  # (c,) times drawn
    chance = -np.expm1(-expected)
    return Candidates(rows, torch.as_tensor(np.log(chance), dtype=torch.float32))


def sampled_softmax(scores: Any, own: Any, correction: Any, smoothing: float = 0.0) -> Any:
    """Mean of −log(e^{s_own − c_own} / Σ_v e^{s_v − c_v}).

    Args:
        scores: (n, c) float32.
        own: (n,) int64, the column of each target.
        correction: (c,) float32, log of the chance to be a candidate.
        smoothing: share of the target that is spread over all candidates.
    """
    return F.cross_entropy(scores - correction, own, label_smoothing=smoothing)
