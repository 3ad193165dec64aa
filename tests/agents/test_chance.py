"""Chance on a page: its probabilities by hand, as a law, and on a real page."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretaste.agents.ranking.chance import chances_at, exchanged
from foretaste.agents.ranking.page import Offer, lay_out
from foretaste.agents.ranking.page_config import PageSettings

EAST = np.array([1.0, 0.0], np.float32)


def _offers(count: int) -> list[Offer]:
    return [
        Offer(
            f"i{n}", relevance=1 - n / 10, conversion=0.0, explores=False, wanted=0.0, vector=EAST
        )
        for n in range(count)
    ]


def test_a_pair_changes_places_by_half_its_chance_for_it_is_paired_by_half() -> None:
    assert chances_at(0, 3, 0.2) == {0: pytest.approx(0.9), 1: pytest.approx(0.1)}
    assert chances_at(1, 3, 0.2) == {1: pytest.approx(0.8), 0: 0.1, 2: 0.1}
    assert chances_at(0, 1, 0.9) == {0: 1.0}


def test_what_is_said_is_what_happens() -> None:
    draw = np.random.default_rng(0)
    seen = np.zeros((3, 4))
    for _ in range(4_000):
        order, chances = exchanged(4, 3, 0.3, draw)
        seen[np.arange(3), order] += 1 / 4_000
    told = np.array([[at.get(item, 0.0) for item in range(4)] for at in chances])
    assert np.abs(seen - told).max() < 0.03


@given(st.integers(1, 30), st.floats(0, 0.99), st.integers(0, 99), st.booleans())
def test_every_place_holds_one_item_that_might_stand_there(
    places: int, swap: float, seed: int, missed: bool
) -> None:
    size = places + missed
    order, chances = exchanged(size, places, swap, np.random.default_rng(seed))
    assert len(set(order)) == places
    for place, (item, at) in enumerate(zip(order, chances, strict=True)):
        assert at[item] > 0
        assert abs(item - place) <= 1
        assert sum(at.values()) == pytest.approx(1)


def test_a_page_without_a_draw_is_certain_and_with_one_says_who_else_might_stand_there() -> None:
    settings = PageSettings(swap=0.5, diversity="none")
    fixed = lay_out(_offers(5), 3, settings)
    assert [one.offer.item_id for one in fixed.places] == ["i0", "i1", "i2"]
    assert not any(one.chances for one in fixed.places)
    pages = [lay_out(_offers(5), 3, settings, np.random.default_rng(n)) for n in range(40)]
    assert {one.offer.item_id for page in pages for one in page.places} == {"i0", "i1", "i2", "i3"}
    for page in pages:
        assert page.places[2].chances == {"i2": 0.5, "i1": 0.25, "i3": 0.25}
    again = lay_out(_offers(5), 3, settings, np.random.default_rng(7))
    assert again.places == pages[7].places


def test_no_chance_is_none() -> None:
    settings = PageSettings(swap=0, diversity="none")
    page = lay_out(_offers(5), 3, settings, np.random.default_rng(0))
    assert page == lay_out(_offers(5), 3, settings)
