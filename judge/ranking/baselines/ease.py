"""EASE^R: a linear item-to-item model in closed form (Steck 2019, arXiv 1905.03375)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from foretaste.data.errors import InputError
from foretaste.data.histories import Histories
from foretaste.serving.rules.base import Scores

LAMBDA = 300.0  # L2 weight; the paper's grid runs from 1e2 to 1e3 on sparse sets
MOST = 25_000  # items: the inverse takes 4 bytes × items², and items³ operations


@dataclass(frozen=True)
class Ease:
    """Scores `x B`, x the set of items in a history.

    Attributes:
        weights: (items, items) float32, zero on the diagonal.
    """

    weights: Scores
    name: str = "ease"

    def scores(self, histories: Histories) -> Scores:
        """(n, items) float32."""
        dense: Scores = np.asarray(_held(histories, len(self.weights)) @ self.weights)
        return dense


def fit_ease(histories: Histories, items: int, weight: float = LAMBDA) -> Ease:
    """`B = I − P · diag(P)^-1` with `P = (XᵀX + λI)^-1`, its diagonal set to zero (equation 8).

    Args:
        histories: events that are learnt from; X is 1 where a history holds an item.
        items: of the catalogue.
        weight: λ.

    Raises:
        InputError: the catalogue is too large for a dense inverse.
    """
    if items > MOST:
        raise InputError(
            f"EASE^R inverts a matrix of items × items; up to {MOST:,} items were expected, not "
            f"{items:,}; leave the method ease out."
        )
    held = _held(histories, items)
    gram = np.asarray((held.T @ held).todense(), dtype=np.float32)
    gram[np.diag_indices(items)] += np.float32(weight)
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    weights[np.diag_indices(items)] = 0
    return Ease(np.asarray(weights, dtype=np.float32))


def _held(histories: Histories, items: int) -> sp.csr_matrix:
    """(n, items) float32, 1 where a history holds an item."""
    ones = np.ones(len(histories.rows), dtype=np.float32)
    shape = (len(histories), items)
    held = sp.csr_matrix((ones, histories.rows, histories.offsets), shape=shape)
    held.sum_duplicates()
    held.data[:] = 1
    return held
