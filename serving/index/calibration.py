"""How many groups a search should look into: measured with questions that are no items.

Items find each other more easily than the short texts find them that people and agents ask with, so
the questions are runs of two to four words of titles, the form of an agent's tags. One half chooses,
the other half says what recall was reached, so that the reported figure was not fitted. With half
of the questions the choice was luck: .992 on those that chose, .987 on others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import faiss
import numpy as np
from numpy.typing import NDArray

QUESTIONS = 800  # asked when an index is built; half of them choose
DEPTH = 100  # nearest items that should be found
TARGET_RECALL = 0.99  # share of them that an index which does not compare everything should find
_SHORTEST, _LONGEST = 2, 4  # words of a question

# From a number of groups and (q, d) questions to the (q, DEPTH) rows found there.
Probing = Callable[[int, NDArray[np.float32]], NDArray[np.int32]]


def questions(titles: Sequence[str]) -> list[str]:
    """Up to `QUESTIONS` texts as an agent would ask: runs of words of titles drawn at random.

    >>> questions(["Heat"])
    ['Heat']
    """
    random = np.random.default_rng(0)
    drawn = random.permutation(len(titles))[:QUESTIONS]
    asked: list[str] = []
    for place in drawn.tolist():
        words = titles[place].split() or [titles[place]]
        length = int(random.integers(_SHORTEST, _LONGEST + 1))
        start = int(random.integers(0, max(1, len(words) - length + 1)))
        asked.append(" ".join(words[start : start + length]))
    return asked


class Truth:
    """The true nearest items of some questions, gathered while the items pass by in batches.

    Args:
        asked: (q, d) float32.
    """

    def __init__(self, asked: NDArray[np.float32]) -> None:
        self.asked = asked
        self._rows = np.zeros((len(asked), 0), dtype=np.int32)
        self._scores = np.zeros((len(asked), 0), dtype=np.float32)

    def see(self, start: int, vectors: NDArray[np.float32]) -> None:
        """Take in the (n, d) vectors of the items from row `start` on."""
        if not len(self.asked) or not len(vectors):
            return
        depth = min(DEPTH, len(vectors))
        scores, rows = faiss.knn(self.asked, vectors, depth, metric=faiss.METRIC_INNER_PRODUCT)
        all_rows = np.concatenate([self._rows, rows.astype(np.int32) + start], axis=1)
        all_scores = np.concatenate([self._scores, scores], axis=1)
        order = np.argsort(-all_scores, axis=1, kind="stable")[:, :DEPTH]
        self._rows = np.take_along_axis(all_rows, order, axis=1)
        self._scores = np.take_along_axis(all_scores, order, axis=1)

    def recall(self, rows: NDArray[np.int32], questions: slice) -> float:
        """Share of the true nearest of these questions among the rows found for them, (q, k)."""
        pairs = zip(self._rows[questions], rows, strict=True)
        return float(np.mean([np.isin(true, found).mean() for true, found in pairs]))


def choose_probes(tried: Sequence[int], probing: Probing, truth: Truth) -> tuple[int, float]:
    """The first of `tried` that reaches `TARGET_RECALL`, and the recall it reached on other questions.

    When none does it is the last one. Without two questions nothing can be measured: the last one,
    which should look everywhere, and 1.
    """
    if len(truth.asked) < 2:
        return tried[-1], 1.0
    choosing, telling = slice(0, None, 2), slice(1, None, 2)
    for probes in tried:
        if truth.recall(probing(probes, truth.asked[choosing]), choosing) >= TARGET_RECALL:
            break
    return probes, truth.recall(probing(probes, truth.asked[telling]), telling)
