"""The page: scores by hand, a share for exploration, no item twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foretaste.agents.objects import Candidate, Recommendation, Tag, TagFind
from foretaste.agents.ranking.ranker import exploration_share, predicted_conversion, rank
from foretaste.agents.retrieval.channels import fuse
from foretaste.agents.retrieval.tools import Tools
from foretaste.serving.index.base import Hits

IDS = [
    *("space-1", "space-2", "space-3", "space-4", "love-1", "love-2"),
    *("love-3", "love-4", "fear-1", "fear-2", "fear-3", "odd-1"),
]


def _page(tools: Tools, candidates: list[Candidate], n: int, **wanted: Any) -> list[Recommendation]:
    loose = {"category_cap": 1.0, "persona_cap": 1.0, "diversity": "none"} | wanted
    config = tools.config.model_copy(update=loose)
    return rank(replace(tools, config=config), candidates, n)


def _found(item_id: str, **ranks: int) -> Candidate:
    return Candidate(item_id=item_id, ranks=ranks)


def test_first_in_every_channel_scores_one(tools: Tools) -> None:
    both = _found("space-1", collaborative=1, tags=1)
    only = _found("love-1", collaborative=2)
    page = _page(tools, [only, both], 2)
    assert [(one.item_id, one.channel) for one in page] == [
        ("space-1", "collaborative"),
        ("love-1", "collaborative"),
    ]
    assert page[0].score == 1.0
    assert page[1].score == pytest.approx((1 / 62) / (1.01 / 61), abs=1e-4)


def test_predicted_conversion_by_hand() -> None:
    assert predicted_conversion(_found("a", collaborative=10), 201) == pytest.approx(10**-0.8)
    twice = Candidate(
        item_id="a",
        ranks={"collaborative": 12, "tags": 1},
        finds=tuple(TagFind(tag=t, persona=0, rank=1, score=1.0) for t in "xy"),
    )
    assert predicted_conversion(twice, 201) == pytest.approx(12**-0.8 * 2**0.4)
    assert predicted_conversion(Candidate(item_id="a", ranks={"tags": 1}), 201) == pytest.approx(
        201**-0.8
    )


def test_the_last_place_explores_when_that_keeps_the_conversion(tools: Tools) -> None:
    rule = [_found(item, collaborative=i) for i, item in enumerate(IDS[:6], 1)]
    likely = Candidate(
        item_id=IDS[6],
        ranks={"collaborative": 6, "tags": 1},
        finds=tuple(TagFind(tag=t, persona=0, rank=1, score=1.0) for t in "xyz"),
    )
    unknown = Candidate(item_id=IDS[7], ranks={"tags": 2}, finds=likely.finds[:1])
    page = _page(tools, [*rule, likely, unknown], 5, exploration=0.4)
    assert [one.item_id for one in page] == [*IDS[:4], IDS[6]], "one is worth it, the other not"
    last = page[-1].placement
    assert last is not None
    assert last.explores
    assert page[-1].channel == "tags"
    assert last.passed_over[0].item_id == IDS[4]
    assert exploration_share(page) == pytest.approx(0.2)
    assert not exploration_share(_page(tools, [*rule, likely], 5, exploration=0.0))
    free = _page(tools, [*rule, likely, unknown], 5, exploration=0.4, conversion_floor=0.0)
    assert exploration_share(free) == pytest.approx(0.4), "without a floor both are shown"


def test_a_page_that_would_be_short_is_filled_with_what_explores(tools: Tools) -> None:
    tags = [Candidate(item_id=item, ranks={"tags": i}) for i, item in enumerate(IDS[2:6], 1)]
    page = _page(tools, [_found(IDS[0], collaborative=1), *tags], 4)
    assert next(one.item_id for one in page) == IDS[0]
    assert len(page) == 4


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    found=st.dictionaries(
        st.sampled_from(IDS),
        st.dictionaries(
            st.sampled_from(["collaborative", "tags", "wish", "fresh", "towers"]),
            st.integers(1, 99),
            min_size=1,
        ),
        min_size=1,
    ),
    n=st.integers(1, 14),
    exploration=st.floats(0, 1),
    way=st.sampled_from(["mmr", "dpp", "none"]),
)
def test_pages_are_full_unrepeated_and_explained(
    tools: Tools, found: dict[str, dict[str, int]], n: int, exploration: float, way: str
) -> None:
    candidates = [Candidate(item_id=i, ranks=ranks) for i, ranks in found.items()]
    page = _page(tools, candidates, n, exploration=exploration, diversity=way, category_cap=0.5)
    assert len(page) == len({one.item_id for one in page}) == min(n, len(found))
    assert all(0 < one.score <= 1 for one in page)
    for one in page:
        assert one.placement is not None
        assert one.placement.ranks == found[one.item_id]
        assert one.channel in found[one.item_id]


def test_fusion_by_hand() -> None:
    found = np.array([[5, 7, -1], [7, 9, -1]], dtype=np.int32)
    scores = np.array([[0.5, 0.4, -np.inf], [0.5, 0.4, -np.inf]], dtype=np.float32)
    tags = [Tag(text=t, persona=p, reason="", source="model") for p, t in enumerate("xy")]
    both = fuse(Hits(found, scores), tags, 10)
    assert both.rows[0] == 7, "found twice"
    assert set(both.rows) == {5, 7, 9}
    assert [(one.tag, one.persona, one.rank) for one in both.finds[7]] == [("y", 1, 1), ("x", 0, 2)]
