"""Which item to take next, so that a page is relevant and its items are not all alike.

Each way is asked for the gain of every item left, and told which one was taken.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
_JITTER = 1e-6  # on the diagonal of the kernel, so that equal items do not make it singular


class Diversity(Protocol):
    """One way to weigh relevance against likeness."""

    def gains(self) -> Numbers:
        """(m,) float64, what each item would add to those taken; higher is better."""
        ...

    def take(self, place: int) -> None:
        """Item `place` was taken."""
        ...


class Plain:
    """Relevance alone."""

    def __init__(self, relevance: Numbers) -> None:
        self._relevance = relevance

    def gains(self) -> Numbers:
        """The relevance."""
        return self._relevance

    def take(self, place: int) -> None:
        """Nothing changes."""


class MarginalRelevance:
    """MMR: (1 - weight) relevance - weight × largest cosine with what was taken.

    Carbonell and Goldstein 1998, with lambda = 1 - weight.

    Args:
        relevance: (m,) in [0, 1].
        vectors: (m, d) unit vectors.
        weight: of likeness, in (0, 1).

    >>> same = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> way = MarginalRelevance(np.array([1.0, 0.9, 0.8]), same, 0.5)
    >>> way.take(0)
    >>> way.gains().round(2).tolist()
    [0.0, -0.05, 0.4]
    """

    def __init__(self, relevance: Numbers, vectors: Numbers, weight: float) -> None:
        self._own = (1 - weight) * relevance
        self._vectors, self._weight = vectors, weight
        self._nearest = np.zeros(len(relevance))

    def gains(self) -> Numbers:
        """(m,) marginal relevance."""
        return np.asarray(self._own - self._weight * self._nearest)

    def take(self, place: int) -> None:
        """Remember how like it every other item is."""
        self._nearest = np.maximum(self._nearest, self._vectors @ self._vectors[place])


class Determinantal:
    """Greedy choice of the most probable set of a determinantal point process.

    The kernel is L_ij = q_i (v_i · v_j) q_j with quality q = exp(relevance / (2 weight)); the gain of
    an item is log det of the taken items with it minus without it. The Cholesky factor grows by a
    row an item, so that n of m items cost O(n² m) (Chen, Zhang and Zhou 2018, algorithm 1).

    Args:
        relevance: (m,) in [0, 1].
        vectors: (m, d) unit vectors.
        weight: of unlikeness, in (0, 1): as it goes to 0 the order becomes that of relevance.
    """

    def __init__(self, relevance: Numbers, vectors: Numbers, weight: float) -> None:
        self._log_quality = relevance / weight  # log q²
        self._vectors = vectors
        self._left = np.full(len(relevance), 1 + _JITTER)  # variance not yet explained
        self._factor = np.zeros((0, len(relevance)))

    def gains(self) -> Numbers:
        """(m,) how much log det grows."""
        return np.asarray(self._log_quality + np.log(np.maximum(self._left, 1e-12)))

    def take(self, place: int) -> None:
        """Add the row of the Cholesky factor."""
        likeness = self._vectors @ self._vectors[place]
        likeness[place] += _JITTER
        explained = self._factor.T @ self._factor[:, place]
        row = (likeness - explained) / np.sqrt(max(float(self._left[place]), 1e-12))
        self._factor = np.vstack([self._factor, row])
        self._left = self._left - row**2


def diversity(
    way: Literal["mmr", "dpp", "none"], relevance: Numbers, vectors: Numbers, weight: float
) -> Diversity:
    """The way of that name."""
    if way == "none":
        return Plain(relevance)
    return (MarginalRelevance if way == "mmr" else Determinantal)(relevance, vectors, weight)
