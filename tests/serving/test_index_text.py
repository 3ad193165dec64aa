"""Words, fusion and filters: numbers by hand, then laws."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from foretaste.data.errors import InputError
from foretaste.data.tables import COLUMNS
from foretaste.serving.index.base import Hits
from foretaste.serving.index.filters import ItemFilter
from foretaste.serving.index.fusion import reciprocal_rank
from foretaste.serving.index.text import K1, B, TextIndex


def test_by_hand_the_score_of_a_word() -> None:
    index = TextIndex.build(["red shoe", "blue shoe shoe sale", "hat"])
    rarity = math.log(1 + (3 - 1 + 0.5) / (1 + 0.5))  # "red" is in one text of three
    length = 2 / ((2 + 4 + 1) / 3)
    expected = rarity * 1 / (1 + K1 * (1 - B + B * length))
    assert index.scores("red").tolist() == pytest.approx([expected, 0, 0])
    assert index.search(["shoe"], 5).rows.tolist() == [[1, 0, -1, -1, -1]]
    assert index.search(["shoe"], 1, np.array([True, False, True])).rows.tolist() == [[0]]
    assert index.search(["nothing known", ""], 1).rows.tolist() == [[-1], [-1]]


def test_an_added_item_scores_like_one_that_was_there() -> None:
    texts = ["red shoe", "blue shoe", "red hat for rain", "glove"]
    index = TextIndex.build(texts)
    again = index.with_items([1], ["blue shoe"])
    for query in ("red", "shoe", "blue shoe rain", "red red"):
        np.testing.assert_allclose(again.scores(query), index.scores(query), rtol=1e-5)
    more = index.with_items([4, 0], ["umbrella", "green glove"])
    assert len(more) == 5
    assert more.search(["umbrella"], 2).rows.tolist() == [[4, -1]]
    assert more.search(["red"], 2).rows.tolist() == [[2, -1]]
    assert len(index) == 4


def test_a_catalogue_without_words_can_still_be_searched() -> None:
    for index in (TextIndex.build([]), TextIndex.build(["", " "])):
        assert (index.search(["red"], 2).rows == -1).all()
    assert TextIndex.build(["", ""]).with_items([1], ["red"]).search(["red"], 1).rows[0, 0] == 1


def hits(*rankings: list[int]) -> Hits:
    rows = np.array(rankings, dtype=np.int32)
    return Hits(rows, np.zeros(rows.shape, dtype=np.float32))


def test_by_hand_ranks_are_fused() -> None:
    fused = reciprocal_rank([hits([5, 3, -1]), hits([3, 9, 5])], 4)
    assert fused.rows.tolist() == [[3, 5, 9, -1]]
    expected = [1 / 62 + 1 / 61, 1 / 61 + 1 / 63, 1 / 62]
    np.testing.assert_allclose(fused.scores[0, :3], expected, rtol=1e-6)
    assert reciprocal_rank([hits([5]), hits([3])], 1, [1, 2]).rows.tolist() == [[3]]
    with pytest.raises(InputError, match="one weight each"):
        reciprocal_rank([hits([5])], 1, [1, 2])
    with pytest.raises(InputError, match="same queries"):
        reciprocal_rank([hits([5]), hits([3], [4])], 1)


@given(st.lists(st.permutations(range(6)), min_size=1, max_size=4))
def test_fusion_does_not_mind_the_order_of_rankings(orders: list[list[int]]) -> None:
    rankings = [hits(list(order)) for order in orders]
    forth, back = reciprocal_rank(rankings, 6), reciprocal_rank(rankings[::-1], 6)
    np.testing.assert_allclose(forth.scores, back.scores, rtol=1e-6)
    assert sorted(forth.rows[0].tolist()) == list(range(6))
    alone = reciprocal_rank(rankings[:1] * len(rankings), 6)
    assert alone.rows.tolist() == rankings[0].rows.tolist()


ITEMS = pl.DataFrame(
    [
        {
            "item_id": "a",
            "categories": ["Makeup", "Lips"],
            "price": 4.0,
            "attributes": [{"name": "brand", "value": "OPI"}],
        },
        {"item_id": "b", "categories": ["Hair"], "price": None, "attributes": []},
        {
            "item_id": "c",
            "categories": [],
            "price": 9.5,
            "attributes": [{"name": "Brand", "value": "Essie"}, {"name": "size", "value": "S"}],
        },
        {"item_id": "d", "categories": None, "price": 0.0, "attributes": None},
    ],
    schema=COLUMNS["items"],
)


@pytest.mark.parametrize(
    ("wish", "passed"),
    [
        ({}, "abcd"),
        ({"categories": ["LIPS", "hair"]}, "ab"),
        ({"not_categories": ["hair"]}, "acd"),
        ({"attributes": {"BRAND": ["opi", "essie"]}}, "ac"),
        ({"attributes": {"brand": ["essie"], "size": ["s"]}}, "c"),
        ({"attributes": {"size": ["essie"]}}, ""),
        ({"price_min": 0, "price_max": 4}, "ad"),
        ({"price_min": 4.5}, "c"),
        ({"allow": ["d", "a", "unknown"]}, "ad"),
        ({"allow": []}, ""),
        ({"deny": ["a", "unknown"]}, "bcd"),
        ({"categories": ["lips", "hair"], "deny": ["a"]}, "b"),
    ],
)
def test_by_hand_which_items_pass(wish: dict[str, object], passed: str) -> None:
    mask = ItemFilter.model_validate(wish).mask(ITEMS)
    assert mask.dtype == np.bool_
    assert mask.shape == (4,)
    assert "".join(ITEMS["item_id"].filter(pl.Series(mask))) == passed
    assert ItemFilter.model_validate(wish).mask(ITEMS.head(0)).shape == (0,)


def test_a_wish_that_makes_no_sense_is_refused() -> None:
    for wrong in (
        {"price_min": 5, "price_max": 4},
        {"price_min": float("nan")},
        {"colour": "red"},
        {"categories": [""]},
    ):
        with pytest.raises(ValidationError):
            ItemFilter.model_validate(wrong)
