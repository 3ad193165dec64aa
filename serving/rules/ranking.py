"""Where each target stands among all items: how many are better, how many are equal."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from foretaste.data.errors import ForetasteError
from foretaste.data.histories import Histories
from foretaste.data.progress import Meter
from foretaste.data.splits import Cases
from foretaste.serving.arithmetic import usable_cores
from foretaste.serving.rules.base import Scorer, Scores

_Counts = NDArray[np.int64]
_CELLS = 4_000_000  # scores held at once by one thread: 16 MB
_THREADS = 8  # at most
Made = TypeVar("Made")


@dataclass(frozen=True)
class Standing:
    """Places of n targets among all items, without deciding ties.

    Attributes:
        better: (n,) items that score higher than the target.
        tied: (n,) items that score the same, the target counted: at least 1. The target may be
            at any of the places better + 1 .. better + tied with the same chance.
    """

    better: _Counts
    tied: _Counts

    def __len__(self) -> int:
        return len(self.better)

    def recall(self, k: int) -> NDArray[np.float64]:
        """(n,) chance that the target is among the first k.

        >>> Standing(np.array([0, 9, 9, 10]), np.array([1, 1, 4, 1])).recall(10).tolist()
        [1.0, 1.0, 0.25, 0.0]
        """
        return np.clip((k - self.better) / self.tied, 0.0, 1.0)

    def ndcg(self, k: int) -> NDArray[np.float64]:
        """(n,) expected 1 / log2(place + 1) within the first k; one target, so the ideal is 1."""
        gains = 1 / np.log2(np.arange(2, k + 2))  # (k,) of place 1 .. k
        total = np.concatenate([[0.0], np.cumsum(gains)])
        first, last = np.minimum(self.better, k), np.minimum(self.better + self.tied, k)
        mean: NDArray[np.float64] = (total[last] - total[first]) / self.tied
        return mean

    def reciprocal(self) -> NDArray[np.float64]:
        """(n,) expected 1 / place."""
        places = int((self.better + self.tied).max(initial=0))
        total = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, places + 1))])
        mean: NDArray[np.float64] = total[self.better + self.tied] - total[self.better]
        return mean / self.tied


def drop_history(scores: Scores, histories: Histories, targets: NDArray[np.int32]) -> None:
    """Set the items of each history to -inf in place, but never the target itself."""
    cases = np.arange(len(targets))
    kept = scores[cases, targets].copy()
    scores[histories.owners, histories.rows] = -np.inf
    scores[cases, targets] = kept


def standing(scores: Scores, targets: NDArray[np.int32]) -> Standing:
    """Compare every target's score with all others.

    A target that is not offered at all (-inf) stands last.

    Args:
        scores: (n, items) float32.
        targets: (n,) int32 item rows.

    Raises:
        ForetasteError: a score is not a number.
    """
    own = scores[np.arange(len(targets)), targets][:, None]  # (n, 1)
    better = np.count_nonzero(scores > own, axis=1)
    tied = np.count_nonzero(scores == own, axis=1)
    if (tied == 0).any() or np.isnan(scores.max(initial=0)):
        raise ForetasteError("A scorer gave scores that are not numbers; it cannot be ranked.")
    unseen = np.isneginf(own[:, 0])
    better[unseen], tied[unseen] = scores.shape[1] - 1, 1
    return Standing(better, tied)


def by_blocks(
    work: Callable[[Cases], Made], cases: Cases, items: int, progress: Meter | None = None
) -> list[Made]:
    """`work` on one stretch of cases after the other, a stretch a core, in their order.

    A stretch is as long as `_CELLS` scores over all items allow, so memory does not grow with
    the number of cases. numpy lets other threads run while it counts.

    Args:
        progress: counts cases, when given.
    """
    size = max(1, _CELLS // max(items, 1))
    starts = range(0, len(cases), size)
    parts = [cases.take(np.arange(start, min(start + size, len(cases)))) for start in starts]
    made = []
    with ThreadPoolExecutor(min(usable_cores(), _THREADS)) as pool:
        for part, one in zip(parts, pool.map(work, parts), strict=True):
            made.append(one)
            if progress:
                progress.advance(len(part))
    return made


def ndcg(scorer: Scorer, cases: Cases, items: int, k: int = 10) -> float:
    """Mean NDCG@k of these cases over all `items`, history dropped."""

    def one_block(part: Cases) -> NDArray[np.float64]:
        scores = scorer.scores(part.histories)
        drop_history(scores, part.histories, part.targets)
        return standing(scores, part.targets).ndcg(k)

    return float(np.concatenate(by_blocks(one_block, cases, items)).mean())
