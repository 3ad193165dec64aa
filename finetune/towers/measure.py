"""What validation says about towers: alone, beside the untrained rule, and mixed with tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from foretaste.data.splits import Cases
from foretaste.serving.rules.base import Scorer, Scores, zscores
from foretaste.serving.rules.ranking import by_blocks, drop_history, standing
from foretaste.serving.towers import Towers

WEIGHTS = (
    0.0,
    0.1,
    0.2,
    0.3,
    0.45,
    0.6,
    0.8,
    1.0,
    1.3,
    1.7,
    2.2,
    3.0,
    4.0,
)  # of the towers beside the rule
BETAS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)  # of the user's vectors beside the tags'
K = 10


def best_weight(
    rule: Scorer, model: Scorer, cases: Cases, items: int
) -> tuple[float, dict[float, float]]:
    """The weight of a trained model beside a rule, both z-scored, with the best NDCG@10.

    Returns:
        The weight, and the NDCG@10 of each that was tried.
    """

    def one_block(part: Cases) -> Any:
        own, added = zscores(rule.scores(part.histories)), zscores(model.scores(part.histories))
        return np.stack([_gains(own + np.float32(w) * added, part) for w in WEIGHTS])

    gains = by_blocks(one_block, cases, items)
    return _best(WEIGHTS, gains)


def best_beta(
    towers: Towers, tags: Sequence[Scores], cases: Cases
) -> tuple[float, dict[float, float]]:
    """The share of y_col beside y_sem with the best NDCG@10.

    Args:
        tags: for each item the sentence vectors (n, text) of its tags: those of the newest item
            stand in for what the agents would say.
        cases: to ask; their histories are not empty.
    """

    def one_block(part: Cases) -> Any:
        own = towers.scores(part.histories)  # (n, items)
        newest = part.histories.rows[part.histories.offsets[1:] - 1]
        said = np.stack([towers.tag_scores(tags[row]) for row in newest])
        shares = np.array(BETAS, dtype=np.float32)
        return np.stack([_gains(b * own + (1 - b) * said, part) for b in shares])

    gains = by_blocks(one_block, cases, len(towers.item_vectors))
    return _best(BETAS, gains)


def _best(tried: Sequence[float], gains: list[Any]) -> tuple[float, dict[float, float]]:
    means = np.concatenate(gains, axis=1).mean(axis=1)
    return float(tried[int(means.argmax())]), dict(zip(tried, means.tolist(), strict=True))


def _gains(scores: Scores, part: Cases) -> Any:
    drop_history(scores, part.histories, part.targets)
    return standing(scores, part.targets).ndcg(K)
