"""The bodies of the rules: popularity, weighted neighbours, last vectors, and blends of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foretaste.data.histories import Histories
from foretaste.serving.rules.base import Scorer, Scores, recency, zscores


@dataclass(frozen=True)
class Popular:
    """The same score for everybody: how often an item was taken."""

    name: str
    counts: Scores

    def scores(self, histories: Histories) -> Scores:
        """(n, items) float32, a copy of `counts` for each history."""
        return np.tile(self.counts, (len(histories), 1))


@dataclass(frozen=True)
class Neighbours:
    """Neighbours of the newest items, each weighted by decay^age.

    Attributes:
        matrix: (items, items) sparse float32, row = item of the history, column = its neighbour.
        decay: weight of an event relative to the next newer one.
        newest: events that count.
    """

    name: str
    matrix: Any
    decay: float
    newest: int

    def scores(self, histories: Histories) -> Scores:
        """(n, items) float32."""
        weights = recency(histories, self.matrix.shape[0], self.decay, self.newest)
        dense: Scores = (weights @ self.matrix).toarray()
        return dense


@dataclass(frozen=True)
class Nearest:
    """Cosine of every item with the newest items' vectors, each weighted by decay^age.

    Attributes:
        vectors: (items, d) float32, unit length.
        decay: weight of an event relative to the next newer one; 0 looks at the newest alone.
        newest: events that count.
    """

    name: str
    vectors: Scores
    decay: float
    newest: int

    def scores(self, histories: Histories) -> Scores:
        """(n, items) float32."""
        weights = recency(histories, len(self.vectors), self.decay, self.newest)
        dense: Scores = (weights @ self.vectors) @ self.vectors.T
        return dense


@dataclass(frozen=True)
class Blend:
    """Sum of other scorers, each as z-scores over the catalogue times its weight."""

    name: str
    parts: Sequence[Scorer]
    weights: Sequence[float]

    def scores(self, histories: Histories) -> Scores:
        """(n, items) float32."""
        total = zscores(self.parts[0].scores(histories))
        total *= np.float32(self.weights[0])
        for part, weight in zip(self.parts[1:], self.weights[1:], strict=True):
            added = zscores(part.scores(histories))
            added *= np.float32(weight)
            total += added
        return total
