"""What a rule is: scores for every item, given histories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from foretaste.data.histories import Histories

Scores = NDArray[np.float32]
Constants = dict[str, float | str]


class Scorer(Protocol):
    """Anything that scores all items for some histories: rules, channels, trained models."""

    @property
    def name(self) -> str:
        """How it is called in tables and results."""
        ...

    def scores(self, histories: Histories) -> Scores:
        """(n, items) float32 in a new array, higher is better; -inf for what it would not offer.

        Callers ask in blocks, possibly from several threads at once.
        """
        ...


@dataclass(frozen=True)
class FittedRule:
    """A rule with its statistics: the one that is measured and the one that is served.

    Attributes:
        name: of the rule.
        body: what scores histories that are not empty.
        popular: (items,) float32, the scores for an empty history.
        constants: what the rule was fitted with.
        validation: rule name → NDCG@10 on validation cases, when this rule was chosen by them.
        material: what it was fitted from, for those who fit it again.
    """

    name: str
    body: Scorer
    popular: Scores
    constants: Constants = field(default_factory=dict)
    validation: Mapping[str, float] = field(default_factory=dict)
    material: Any = field(default=None, repr=False, compare=False)

    def scores(self, histories: Histories) -> Scores:
        """(n, items) float32, higher is better; an empty history gets the popular items."""
        scores = self.body.scores(histories)
        scores[histories.lengths == 0] = self.popular
        return scores


def recency(histories: Histories, items: int, decay: float, newest: int) -> Any:
    """Histories as a sparse (n, items) float32 matrix of decay^age, age 0 being the newest.

    Args:
        items: number of items in the catalogue.
        decay: weight of an event relative to the next newer one; 0 keeps the newest alone.
        newest: events of each history that count.

    >>> recency(Histories.from_lists([[2, 0, 1]]), 3, 0.5, 2).toarray().tolist()
    [[0.5, 1.0, 0.0]]
    """
    cut = histories.newest(newest)
    weights = np.power(np.float32(decay), cut.ages.astype(np.float32))  # (events,)
    shape = (len(cut), items)
    return sp.csr_matrix((weights, cut.rows, cut.offsets), shape=shape, dtype=np.float32)


def popularity(histories: Histories, items: int) -> NDArray[np.int64]:
    """(items,) how many events of these histories are about each item."""
    return np.bincount(histories.rows, minlength=items)


def zscores(block: Scores) -> Scores:
    """Each row minus its mean over the catalogue, divided by its standard deviation, in place.

    A row of equal scores says nothing about any item and becomes zeros.

    >>> zscores(np.array([[1, 3], [2, 2]], dtype=np.float32)).tolist()
    [[-1.0, 1.0], [0.0, 0.0]]
    """
    if block.size == 0:
        return block
    block -= block.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.einsum("ij,ij->i", block, block) / block.shape[1])  # (n,)
    flat = spread <= 1e-7
    block[flat] = 0
    block /= np.where(flat, 1, spread)[:, None]
    return block
