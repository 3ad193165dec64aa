"""Several rankings made into one by reciprocal rank (Cormack, Clarke and Büttcher 2009)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foretaste.data.errors import InputError
from foretaste.serving.index.base import Hits

RANK_OFFSET = 60.0  # the paper's constant: how little the first places count over the next


def reciprocal_rank(
    rankings: Sequence[Hits], k: int, weights: Sequence[float] | None = None
) -> Hits:
    """The k best of several rankings of the same queries: score = Σ weight / (60 + rank).

    Args:
        rankings: each of the same q queries; lengths may differ; -1 rows are passed over.
        k: items wanted for each query.
        weights: one for each ranking; all 1 when None.

    Ties go to the smaller row, so the outcome does not depend on the order of the rankings.

    >>> by_word = Hits(np.array([[7, 2]], np.int32), np.array([[9.0, 1.0]], np.float32))
    >>> by_meaning = Hits(np.array([[2, 5]], np.int32), np.array([[0.8, 0.7]], np.float32))
    >>> reciprocal_rank([by_word, by_meaning], 2).rows.tolist()
    [[2, 7]]
    """
    chosen = [1.0] * len(rankings) if weights is None else list(weights)
    queries = {len(ranking.rows) for ranking in rankings}
    if len(queries) != 1 or len(chosen) != len(rankings):
        raise InputError(
            "Rankings of the same queries with one weight each were expected; "
            f"got {len(rankings)} rankings of {sorted(queries)} queries, {len(chosen)} weights."
        )
    rows = np.full((queries.pop(), k), -1, dtype=np.int32)
    scores = np.full(rows.shape, -np.inf, dtype=np.float32)
    for query in range(len(rows)):
        total: dict[int, float] = {}
        for ranking, weight in zip(rankings, chosen, strict=True):
            for rank, row in enumerate(ranking.rows[query].tolist(), start=1):
                if row >= 0:
                    total[row] = total.get(row, 0.0) + weight / (RANK_OFFSET + rank)
        best = sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))[:k]
        for place, (row, score) in enumerate(best):
            rows[query, place], scores[query, place] = row, score
    return Hits(rows, scores)
