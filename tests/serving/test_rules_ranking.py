"""Places of targets by hand, then the laws of the metrics."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from foretaste.data.errors import ForetasteError
from foretaste.data.histories import Histories
from foretaste.serving.rules.ranking import Standing, drop_history, standing

SCORES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 12)),
    elements=st.sampled_from([-1.0, 0.0, 0.5, 2.0]),
)


def _one(better: int, tied: int = 1) -> Standing:
    return Standing(np.array([better]), np.array([tied]))


def test_places_by_hand() -> None:
    scores = np.array([[5, 3, 3, 3, 1], [5, 3, 3, 3, 1]], dtype=np.float32)
    found = standing(scores, np.array([0, 2], dtype=np.int32))
    assert found.better.tolist() == [0, 1]
    assert found.tied.tolist() == [1, 3]


def test_metrics_by_hand() -> None:
    assert _one(2).recall(5)[0] == 1
    assert _one(2).ndcg(5)[0] == pytest.approx(0.5)  # third place: 1 / log2(4)
    assert _one(2).reciprocal()[0] == pytest.approx(1 / 3)
    assert _one(5).ndcg(5)[0] == _one(5).recall(5)[0] == 0


def test_ties_count_by_expectation() -> None:
    tied = _one(4, 2)  # fifth or sixth place, with the same chance
    assert tied.recall(5)[0] == 0.5
    assert tied.ndcg(5)[0] == pytest.approx(0.5 / np.log2(6))
    assert tied.reciprocal()[0] == pytest.approx((1 / 5 + 1 / 6) / 2)


def test_a_dropped_history_keeps_the_target() -> None:
    scores = np.zeros((2, 3), dtype=np.float32)
    histories = Histories.from_lists([[0, 1], [2, 2]])
    drop_history(scores, histories, np.array([1, 0], dtype=np.int32))
    assert scores.tolist() == [[-np.inf, 0, 0], [0, 0, -np.inf]]


def test_a_target_that_is_not_offered_stands_last() -> None:
    scores = np.array([[-np.inf, 1, -np.inf, -np.inf]], dtype=np.float32)
    found = standing(scores, np.array([0], dtype=np.int32))
    assert (found.better.tolist(), found.tied.tolist()) == ([3], [1])


@pytest.mark.parametrize("place", [0, 1])
def test_scores_that_are_no_numbers_are_refused(place: int) -> None:
    scores = np.array([[1.0, 2.0]], dtype=np.float32)
    scores[0, place] = np.nan
    with pytest.raises(ForetasteError, match="not numbers"):
        standing(scores, np.array([0], dtype=np.int32))


@given(SCORES, st.randoms(use_true_random=False))
def test_the_order_of_the_catalogue_does_not_matter(scores: np.ndarray, draw) -> None:
    order = list(range(scores.shape[1]))
    draw.shuffle(order)
    targets = np.array([draw.randrange(scores.shape[1]) for _ in scores], dtype=np.int32)
    places = np.argsort(order)[targets].astype(np.int32)
    one, other = standing(scores, targets), standing(scores[:, order], places)
    assert one.better.tolist() == other.better.tolist()
    assert one.tied.tolist() == other.tied.tolist()


@given(SCORES)
def test_all_targets_of_a_ranking_share_what_there_is(scores: np.ndarray) -> None:
    items = scores.shape[1]
    every = [standing(scores[:1], np.array([target], dtype=np.int32)) for target in range(items)]
    k = min(3, items)
    assert sum(one.recall(k)[0] for one in every) == pytest.approx(k)
    assert sum(one.ndcg(k)[0] for one in every) == pytest.approx(
        sum(1 / np.log2(np.arange(2, k + 2)))
    )


@given(st.integers(0, 50), st.integers(1, 50))
def test_bounds_and_growth_with_k(better: int, tied: int) -> None:
    place = _one(better, tied)
    recalls = [place.recall(k)[0] for k in range(1, 120)]
    gains = [place.ndcg(k)[0] for k in range(1, 120)]
    assert all(
        0 <= gain <= recall + 1e-12 <= 1 + 1e-12
        for gain, recall in zip(gains, recalls, strict=True)
    )
    assert recalls == sorted(recalls)
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(gains))
    assert recalls[-1] == 1
    assert _one(0).ndcg(1)[0] == _one(0).reciprocal()[0] == 1
