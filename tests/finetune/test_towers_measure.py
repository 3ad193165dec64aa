"""What validation chooses: the weight of the towers beside a rule, and β."""

from __future__ import annotations

import numpy as np
import pytest

from foretaste.data.histories import Histories
from foretaste.data.splits import Cases
from foretaste.finetune.towers.measure import BETAS, WEIGHTS, best_beta, best_weight
from foretaste.serving.rules.ranking import ndcg


class _Fixed:
    """The same scores for everybody, and others for tags."""

    name = "fixed"

    def __init__(self, scores: list[float], said: list[float] | None = None) -> None:
        self.own = np.array(scores, dtype=np.float32)
        self.said = np.array(said or scores, dtype=np.float32)
        self.item_vectors = np.zeros((len(scores), 1), dtype=np.float32)

    def scores(self, histories: Histories) -> np.ndarray:
        return np.tile(self.own, (len(histories), 1))

    def tag_scores(self, tags: np.ndarray) -> np.ndarray:
        return self.said.copy()


CASES = Cases(np.arange(2), Histories.from_lists([[0], [0]]), np.array([2, 2], dtype=np.int32))
RIGHT, WRONG = [0.0, 1.0, 2.0, 0.5], [0.0, 2.0, 0.0, 1.0]


def test_ndcg_drops_the_history_and_discounts_the_place() -> None:
    assert ndcg(_Fixed(RIGHT), CASES, 4) == 1.0
    assert ndcg(_Fixed([9.0, 2.0, 1.0, 0.0]), CASES, 4) == pytest.approx(1 / np.log2(3))


def test_towers_that_only_harm_get_no_weight_and_those_that_help_get_some() -> None:
    assert best_weight(_Fixed(RIGHT), _Fixed(WRONG), CASES, 4)[0] == 0.0
    weight, found = best_weight(_Fixed(WRONG), _Fixed(RIGHT), CASES, 4)
    assert weight > 0
    assert found[weight] == max(found.values())
    assert set(found) == set(WEIGHTS)
    assert found[0.0] == pytest.approx(ndcg(_Fixed(WRONG), CASES, 4))


def test_beta_is_one_when_tags_only_harm_and_small_when_they_know() -> None:
    nothing = [np.zeros((1, 3), dtype=np.float32)] * 4
    assert best_beta(_Fixed(RIGHT, WRONG), nothing, CASES)[0] == 1.0
    beta, found = best_beta(_Fixed(WRONG, RIGHT), nothing, CASES)
    assert beta < 1
    assert found[beta] == 1.0
    assert set(found) == set(BETAS)
