"""EASE^R: a linear item-to-item model in closed form (Steck 2019, arXiv 1905.03375)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg import lapack

from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.histories import Histories
from foretaste.data.progress import meter
from foretaste.data.splits import Cases
from foretaste.serving.rules.base import Scores
from foretaste.serving.rules.ranking import ndcg
from foretaste.serving.rules.select import sample

LAMBDAS = (10.0, 30.0, 100.0, 300.0, 1000.0)  # L2 weights that validation chooses among
MOST = 25_000  # items: the inverse takes 4 bytes × items², and items³ operations
_CASES = 4000  # validation cases that choose λ
_STRETCH = 1024  # rows that are mirrored at once


@dataclass(frozen=True)
class Ease:
    """Scores `x B`, x the set of items in a history.

    Attributes:
        weights: (items, items) float32, zero on the diagonal.
        weight: λ.
    """

    weights: Scores
    weight: float
    name: str = "ease"

    def scores(self, histories: Histories) -> Scores:
        """(n, items) float32."""
        dense: Scores = np.asarray(_held(histories, len(self.weights)) @ self.weights)
        return dense


def fit_ease(histories: Histories, items: int, weight: float) -> Ease:
    """`B = I − P · diag(P)^-1` with `P = (XᵀX + λI)^-1`, its diagonal set to zero (equation 8).

    Args:
        histories: events that are learnt from; X is 1 where a history holds an item.
        items: of the catalogue.
        weight: λ.

    Raises:
        InputError: the catalogue is too large for a dense inverse, or λ is not above 0.
    """
    if items > MOST:
        raise InputError(
            f"EASE^R inverts a matrix of items × items; up to {MOST:,} items were expected, not "
            f"{items:,}; leave the method ease out."
        )
    if not weight > 0:
        raise InputError(f"EASE^R expects a λ above 0, not {weight}.")
    held = _held(histories, items)
    gram = np.asarray((held.T @ held).todense(), dtype=np.float32)  # (items, items)
    gram[np.diag_indices(items)] += np.float32(weight)
    weights = _inverse(gram)
    weights /= -np.diag(weights).copy()
    weights[np.diag_indices(items)] = 0
    return Ease(weights, weight)


def choose_ease(histories: Histories, items: int, validation: Cases, seed: int = 0) -> Ease:
    """EASE^R with the λ of `LAMBDAS` that has the best NDCG@10 on validation cases, history dropped.

    The search starts in the middle and goes on while it gets better: an inverse is what costs.

    Args:
        histories: events that are learnt from.
        items: of the catalogue.
        validation: cases; without any λ is the middle of the grid.
        seed: of the sample of cases that are asked.
    """
    cases = sample(validation, _CASES, seed)
    middle = len(LAMBDAS) // 2
    best, place = fit_ease(histories, items, LAMBDAS[middle]), middle
    if not len(cases):
        return best
    found = ndcg(best, cases, items)
    with meter("Choosing λ of EASE^R", len(LAMBDAS) - 1, "weights") as progress:
        for step in (-1, 1):
            while 0 <= place + step < len(LAMBDAS):
                other = fit_ease(histories, items, LAMBDAS[place + step])
                figure = ndcg(other, cases, items)
                progress.advance()
                if figure <= found:
                    break
                best, found, place = other, figure, place + step
            if place < middle:
                break
    return best


def _inverse(matrix: Scores) -> Scores:
    """The inverse of a symmetric positive definite (n, n), by Cholesky: half of a general one's work.

    Args:
        matrix: C-contiguous; its memory is used.
    """
    factor, failed = lapack.spotrf(matrix.T, lower=1, overwrite_a=1)
    if failed:
        raise ForetasteError("The matrix of EASE^R cannot be inverted; leave the method ease out.")
    inverse: Any = lapack.spotri(factor, lower=1, overwrite_c=1)[0]
    for start in range(0, len(inverse), _STRETCH):  # the upper half is what the lower one is
        stop = start + _STRETCH
        block = np.tril(inverse[start:stop, start:stop])
        inverse[start:stop, start:stop] = block + np.tril(block, -1).T
        inverse[start:stop, stop:] = inverse[stop:, start:stop].T
    return np.asarray(inverse.T)  # the same numbers, rows in one piece


def _held(histories: Histories, items: int) -> sp.csr_matrix:
    """(n, items) float32, 1 where a history holds an item."""
    ones = np.ones(len(histories.rows), dtype=np.float32)
    shape = (len(histories), items)
    given = (ones, histories.rows, histories.offsets)
    held = sp.csr_matrix(given, shape=shape, copy=True)  # what follows sorts in place
    held.sum_duplicates()
    held.data[:] = 1
    return held
