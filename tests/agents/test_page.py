"""The page by hand: diversity, caps, and why an item stands where it does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretaste.agents.ranking.diversity import Determinantal, MarginalRelevance
from foretaste.agents.ranking.page import Offer, lay_out
from foretaste.agents.ranking.page_config import PageSettings

EAST, NORTH = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)


def _offer(name: str, relevance: float, vector: Any = EAST, **more: Any) -> Offer:
    given = {"conversion": relevance, "explores": False, "wanted": 0.0} | more
    return Offer(item_id=name, relevance=relevance, vector=vector, **given)


def _names(offers: list[Offer], n: int, **wanted: Any) -> list[str]:
    loose = {"diversity": "none", "category_cap": 1, "persona_cap": 1} | wanted
    return [one.offer.item_id for one in lay_out(offers, n, PageSettings(**loose)).places]


def test_marginal_relevance_prefers_what_is_unlike() -> None:
    offers = [_offer("a", 1.0), _offer("b", 0.9), _offer("c", 0.8, NORTH)]
    assert _names(offers, 3) == ["a", "b", "c"]
    for way in ("mmr", "dpp"):
        assert _names(offers, 3, diversity=way, diversity_weight=0.5) == ["a", "c", "b"]
        assert _names(offers, 3, diversity=way, diversity_weight=0.001) == ["a", "b", "c"] or (
            way == "dpp"
        ), "an equal item has no volume, whatever it is worth"


def test_what_stood_aside_is_told() -> None:
    offers = [_offer("a", 1.0), _offer("b", 0.9), _offer("c", 0.8, NORTH)]
    settings = PageSettings(diversity="mmr", diversity_weight=0.5)
    page = lay_out(offers, 2, settings).places
    assert [(one.item_id, one.reason) for one in page[1].passed_over] == [
        ("b", "more like the items above than it is more relevant")
    ]
    assert page[1].nearest == "a"
    assert page[1].likeness == 0


def test_caps_hold_until_the_page_would_be_short() -> None:
    offers = [_offer(f"x{i}", 1 - i / 10, category="x") for i in range(4)]
    offers.append(_offer("y", 0.1, category="y"))
    assert _names(offers, 2, category_cap=0.5) == ["x0", "y"]
    assert _names(offers, 4, category_cap=0.5) == ["x0", "x1", "y", "x2"]
    page = lay_out(offers, 2, PageSettings(diversity="none", category_cap=0.5)).places
    assert page[1].passed_over[0].reason == "category 'x' has its 1 places"
    by_persona = [_offer("p", 1, persona=0), _offer("q", 0.9, persona=0), _offer("r", 0.8)]
    assert _names(by_persona, 2, persona_cap=0.5) == ["p", "r"]


def test_exploration_takes_the_place_that_converts_least() -> None:
    offers = [_offer("a", 1.0, conversion=0.1), _offer("b", 0.9, conversion=0.5)]
    offers.append(_offer("e", 0.2, conversion=0.2, explores=True, wanted=1.0))
    assert _names(offers, 2, exploration=0.5, conversion_floor=1.0) == ["b", "e"]
    assert _names(offers, 2, exploration=0.5, conversion_floor=2.5) == ["a", "b"]
    least = {"exploration": 0.5, "exploration_least": 0.5}
    assert _names(offers, 2, conversion_floor=2.5, **least) == ["a", "b"], "the floor comes first"
    page = lay_out(offers, 2, PageSettings(exploration=0.5, conversion_floor=1.0))
    assert page.exploration_share == 0.5
    assert page.allocation is not None
    assert page.places[1].passed_over[0].item_id == "a"


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=8), st.floats(0.05, 0.9), st.data())
def test_the_greedy_gains_are_growths_of_the_log_determinant(
    relevance: list[float], weight: float, data: st.DataObject
) -> None:
    draw = np.random.default_rng(data.draw(st.integers(0, 99)))
    vectors = draw.standard_normal((len(relevance), 12))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    way = Determinantal(np.array(relevance), vectors, weight)
    quality = np.exp(np.array(relevance) / (2 * weight))
    kernel = (vectors @ vectors.T + 1e-6 * np.eye(len(relevance))) * np.outer(quality, quality)
    taken: list[int] = []
    for place in draw.permutation(len(relevance))[:4].tolist():
        before = np.linalg.slogdet(kernel[np.ix_(taken, taken)])[1] if taken else 0.0
        now = [*taken, place]
        grown = np.linalg.slogdet(kernel[np.ix_(now, now)])[1] - before
        assert way.gains()[place] == pytest.approx(grown, abs=1e-6)
        way.take(place)
        taken.append(place)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_marginal_relevance_never_gains_by_taking(relevance: list[float]) -> None:
    draw = np.random.default_rng(len(relevance))
    vectors = draw.standard_normal((len(relevance), 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    way = MarginalRelevance(np.array(relevance), vectors, 0.3)
    before = way.gains()
    way.take(0)
    assert (way.gains() <= before + 1e-12).all()
