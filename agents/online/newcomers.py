"""A fitted rule for a catalogue that grew: items it never saw are scored through their likes.

The rule knows the items it was fitted on, and no later one. Until it is fitted again, a new item
stands between the known items nearest to it in meaning: it is scored with their scores, and where
it occurs in a history the nearest of them occurs for the rule. This is the item-based cold start
by content of Schein et al. (2002) in its simplest form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from foretaste.data.histories import Histories
from foretaste.serving.index.base import ItemIndex
from foretaste.serving.rules.base import Scorer, Scores

NEIGHBOURS = 5


@dataclass(frozen=True)
class Newcomers:
    """A rule over `known` items, extended to the items after them.

    Attributes:
        rule: what was fitted.
        known: items it was fitted on: the first rows.
        likes: (new, 5) int64, rows of the known items nearest to each new one, nearest first.
        weights: (new, 5) float32, how much each of them counts; rows sum to 1.
    """

    rule: Scorer
    known: int
    likes: NDArray[np.int64]
    weights: NDArray[np.float32]

    @classmethod
    def of(cls, rule: Scorer, known: int) -> Newcomers:
        """Nothing is new yet."""
        none = np.zeros((0, min(NEIGHBOURS, known)))
        return cls(rule, known, none.astype(np.int64), none.astype(np.float32))

    def grown(
        self, rows: Sequence[int], vectors: NDArray[np.float32], index: ItemIndex
    ) -> Newcomers:
        """The same once the catalogue holds these rows, too.

        Args:
            rows: m rows that came or changed; those of known items are passed over.
            vectors: (m, d) float32, their unit vectors.
            index: finds the nearest of the known items.
        """
        places = np.asarray(rows, dtype=np.int64) - self.known
        fresh = np.flatnonzero(places >= 0)
        width = self.likes.shape[1]
        shape = (max(len(self.likes), int(places.max(initial=-1)) + 1), width)
        likes, weights = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32)
        likes[: len(self.likes)], weights[: len(self.likes)] = self.likes, self.weights
        if len(fresh) and width:
            found = index.search(vectors[fresh], width)
            near = np.maximum(found.scores, 1e-6)
            likes[places[fresh]] = found.rows
            weights[places[fresh]] = near / near.sum(axis=1, keepdims=True)
        return replace(self, likes=likes, weights=weights)

    @property
    def name(self) -> str:
        """The rule's own name."""
        return self.rule.name

    def scores(self, histories: Histories) -> Scores:
        """(n, items) float32: the rule's scores, then the weighted means for the new items."""
        if not len(self.likes):
            return self.rule.scores(histories)
        rows = histories.rows.astype(np.int64)
        new = rows >= self.known
        rows[new] = self.likes[rows[new] - self.known, 0]
        known = self.rule.scores(Histories(rows.astype(np.int32), histories.offsets))
        added = np.einsum("nlk,lk->nl", known[:, self.likes], self.weights)  # (n, new)
        return np.concatenate([known, added.astype(np.float32)], axis=1)
