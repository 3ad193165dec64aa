"""Lists and resampling by hand, then their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from foretaste.judge.ranking.bootstrap import interval, resampled_means
from foretaste.judge.ranking.lists import coverage, diversity, information, novelty, top_lists

SCORES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 15)),
    elements=st.sampled_from([-np.inf, 0.0, 1.0, 2.5]),
)


@given(SCORES, st.integers(1, 10))
def test_a_top_list_holds_the_best_scores_once_each(scores: np.ndarray, k: int) -> None:
    for row, items in zip(scores, top_lists(scores, k, 0), strict=True):
        offered = items[items >= 0]
        best = np.sort(row[np.isfinite(row)])[::-1][:k]
        assert row[offered].tolist() == best.tolist()
        assert len(set(offered)) == len(offered)
        assert len(items) == k


def test_ties_are_filled_at_random_not_in_catalogue_order() -> None:
    lists = top_lists(np.zeros((50, 2000), dtype=np.float32), 10, 0)
    assert 850 < lists.mean() < 1150
    assert coverage(lists, 2000) > 0.2  # and not by one order for everybody
    np.testing.assert_array_equal(lists, top_lists(np.zeros((50, 2000), dtype=np.float32), 10, 0))


def test_novelty_by_hand() -> None:
    bits = information(np.array([6, 0, 0]))  # 7/9, 1/9, 1/9 after one event more each
    lists = np.array([[0, 1], [2, -1], [-1, -1]], dtype=np.int32)
    found = novelty(lists, bits)
    assert found[0] == pytest.approx((np.log2(9 / 7) + np.log2(9)) / 2)
    assert found[1] == pytest.approx(np.log2(9))
    assert np.isnan(found[2])


def test_diversity_by_hand() -> None:
    vectors = np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)
    lists = np.array([[0, 1, 2], [0, 2, -1], [1, -1, -1]], dtype=np.int32)
    found = diversity(lists, vectors)
    assert found[0] == pytest.approx(2 / 3)  # distances 1, 0 and 1
    assert found[1] == pytest.approx(0)
    assert np.isnan(found[2])


def test_resampling_one_user_gives_the_mean_itself() -> None:
    values = np.array([[1.0, 4.0], [3.0, np.nan]])
    assert resampled_means(values, np.array([7, 7]), 20, 0).tolist() == [[2, 4]] * 20


def test_cases_of_a_user_stay_together() -> None:
    values = np.array([[1.0], [0.0], [0.0], [1.0]])
    users = np.array([0, 1, 1, 0])  # a mean is made of whole users: 0, 1/2 or 1
    assert set(resampled_means(values, users, 200, 0).ravel()) == {0.0, 0.5, 1.0}


def test_the_interval_has_the_width_of_the_standard_error() -> None:
    values = np.random.default_rng(0).random((4000, 1))
    low, high = interval(resampled_means(values, np.arange(4000), 1000, 0)) or (0, 0)
    expected = 2 * 1.96 * values.std() / np.sqrt(4000)
    assert high - low == pytest.approx(expected, rel=0.15)
    assert low < values.mean() < high


def test_methods_are_resampled_together() -> None:
    first = np.random.default_rng(0).random(500)
    means = resampled_means(np.stack([first, first + 0.1], axis=1), np.arange(500), 100, 0)
    np.testing.assert_allclose(means[:, 1] - means[:, 0], 0.1)


def test_nobody_in_a_column_has_no_interval() -> None:
    means = resampled_means(np.full((3, 1), np.nan), np.arange(3), 10, 0)
    assert interval(means) is None
