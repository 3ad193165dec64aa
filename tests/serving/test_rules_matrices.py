"""Counts and matrices by hand, then what holds for all of them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from foretaste.data.histories import Histories
from foretaste.serving.rules.base import recency, zscores
from foretaste.serving.rules.matrices import (
    by_row,
    co_counts,
    cosine,
    divided_by_popularity,
    holders,
    strongest,
    strongest_product,
    transition_counts,
    with_second_hop,
)
from foretaste.serving.rules.words import bm25_matrix, item_words

THREE = Histories.from_lists([[0, 1, 2], [0, 2], [3]])
LISTS = st.lists(st.lists(st.integers(0, 5), max_size=8), min_size=1, max_size=6)


def test_recency_weighs_by_age_and_adds_repeats() -> None:
    weights = recency(Histories.from_lists([[2, 1, 2], []]), 3, 0.5, 50)
    assert weights.toarray().tolist() == [[0, 0.5, 1.25], [0, 0, 0]]
    assert recency(Histories.from_lists([[2, 1]]), 3, 0.0, 50).toarray().tolist() == [[0, 1, 0]]


def test_co_counts_and_cosine_by_hand() -> None:
    counts = co_counts(THREE, 4)
    assert counts[0, 2] == 2
    assert counts[0, 1] == counts[1, 2] == 1
    assert counts[3].nnz == 0
    assert holders(THREE, 4).tolist() == [2, 1, 2, 1]
    half = cosine(counts, holders(THREE, 4), 0.5)
    assert half[0, 2] == pytest.approx(2 / np.sqrt(4))
    assert half[0, 1] == pytest.approx(1 / np.sqrt(2))


def test_transitions_by_hand() -> None:
    counts = transition_counts(THREE, 4, window=2, back=0.5)
    assert counts[0, 1] == 1
    assert counts[0, 2] == 1 / 2 + 1
    assert counts[2, 0] == 0.5 * 1.5
    rows = by_row(counts)
    assert rows[0].toarray().ravel() == pytest.approx([0, 0.4, 0.6, 0])
    assert rows[3].nnz == 0


def test_transitions_of_nothing_and_of_one_event() -> None:
    for lists in ([], [[]], [[1]], [[1, 1]]):
        assert transition_counts(Histories.from_lists(lists), 2, 5, 0.5).nnz == 0


def test_second_hop_by_hand() -> None:
    chain = sp.csr_matrix(np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=np.float32))
    assert with_second_hop(chain, 0.5, 30).toarray().tolist() == [[0, 1, 0.5], [0, 0, 1], [0, 0, 0]]
    there_and_back = sp.csr_matrix(np.array([[0, 1], [1, 0]], dtype=np.float32))
    assert with_second_hop(there_and_back, 1.0, 30).toarray().tolist() == [[0, 1], [1, 0]]


def test_divided_by_popularity_by_hand() -> None:
    ones = sp.csr_matrix(np.ones((2, 3), dtype=np.float32))
    found = divided_by_popularity(ones, np.array([4, 1, 0]), 0.5)
    assert found.toarray()[0].tolist() == [0.5, 1, 1]


def test_strongest_keeps_the_largest() -> None:
    matrix = sp.csr_matrix(np.array([[3, 1, 2, 0], [0, 0, 5, 0], [0, 0, 0, 0]], dtype=np.float32))
    assert strongest(matrix, 2).toarray().tolist() == [[3, 0, 2, 0], [0, 0, 5, 0], [0, 0, 0, 0]]


def test_equal_neighbours_are_not_kept_in_catalogue_order() -> None:
    equal = sp.csr_matrix(np.ones((1, 2000), dtype=np.float32))
    kept = strongest(equal, 100).indices
    assert len(kept) == 100
    assert 700 < kept.mean() < 1300  # the first hundred have a mean of 50
    assert set(kept) != set(strongest(equal, 100, seed=1).indices)


@given(LISTS, st.integers(1, 6))
def test_strongest_product_is_the_product_when_all_is_kept(
    lists: list[list[int]], keep: int
) -> None:
    counts = co_counts(Histories.from_lists(lists), 6)
    whole = (counts @ counts).toarray()
    np.fill_diagonal(whole, 0)
    np.testing.assert_allclose(strongest_product(counts, counts, 6).toarray(), whole)
    kept = strongest_product(counts, counts, keep).toarray()
    assert (np.count_nonzero(kept, axis=1) <= keep).all()
    np.testing.assert_allclose(np.sort(kept)[:, -keep:], np.sort(whole)[:, -keep:])


@given(LISTS, st.integers(1, 5), st.floats(0, 1))
def test_transition_counts_add_up_over_histories(
    lists: list[list[int]], window: int, back: float
) -> None:
    whole = transition_counts(Histories.from_lists(lists), 6, window, back).toarray()
    each = [transition_counts(Histories.from_lists([one]), 6, window, back) for one in lists]
    np.testing.assert_allclose(whole, sum(each).toarray(), rtol=1e-5)
    assert not whole.diagonal().any()


def test_bm25_by_hand() -> None:
    found = bm25_matrix(["red lipstick", "red mug", "blue plate", ""]).toarray()
    idf = np.log(1 + (4 - 2 + 0.5) / (2 + 0.5))  # "red" is in two of four texts
    norm = 1.5 * (1 - 0.75 + 0.75 * 2 / 1.5)  # two words, 1.5 on average
    assert found[0, 1] == pytest.approx(idf * 2.5 / (1 + norm), rel=1e-5)
    assert np.count_nonzero(found) == 2
    assert bm25_matrix(["", ""]).nnz == bm25_matrix([]).nnz == 0


def test_item_words_leave_ids_and_numbers_of_rows_out() -> None:
    import polars as pl

    from foretaste.data.tables import COLUMNS

    full = {
        "item_id": "B001",
        "title": "Mug",
        "categories": ["Kitchen", "Cups"],
        "attributes": [{"name": "brand", "value": "Acme"}, {"name": "p5_item_id", "value": "17"}],
    }
    items = pl.DataFrame([full, {"item_id": "B002"}], schema=COLUMNS["items"])
    texts = item_words(items)
    assert {key: [one.split() for one in value] for key, value in texts.items()} == {
        "title": [["Mug"], []],
        "title+brand": [["Mug", "Acme"], []],
        "title+brand+categories": [["Mug", "Acme", "Kitchen", "Cups"], []],
    }


def test_zscores_of_equal_scores_are_zero() -> None:
    assert zscores(np.full((2, 3), 7, dtype=np.float32)).tolist() == [[0, 0, 0], [0, 0, 0]]
