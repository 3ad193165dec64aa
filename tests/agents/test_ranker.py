"""The page: scores by hand, a share for exploration, no item twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretaste.agents import channels
from foretaste.agents.config import AgentsConfig
from foretaste.agents.objects import Candidate
from foretaste.agents.ranker import rank
from foretaste.serving.index.base import Hits


def _page(candidates: list[Candidate], n: int, exploration: float = 0.3) -> list[str]:
    titles = {one.item_id: one.item_id for one in candidates}
    config = AgentsConfig(exploration=exploration)
    return [one.item_id for one in rank(candidates, titles, n, config)]


def test_first_in_every_channel_scores_one() -> None:
    both = Candidate(item_id="a", ranks={"collaborative": 1, "tags": 1})
    only = Candidate(item_id="b", ranks={"collaborative": 2})
    page = rank([only, both], {"a": "A", "b": "B"}, 2, AgentsConfig())
    assert [(one.item_id, one.channel) for one in page] == [
        ("a", "collaborative"),
        ("b", "collaborative"),
    ]
    assert page[0].score == 1.0
    assert page[1].score == pytest.approx((1 / 62) / (1.05 / 61), abs=1e-4)


def test_a_share_of_the_page_is_kept_for_what_only_the_agents_found() -> None:
    rule = [Candidate(item_id=f"c{i}", ranks={"collaborative": i}) for i in range(1, 21)]
    tags = [Candidate(item_id=f"t{i}", ranks={"tags": i}) for i in range(1, 21)]
    page = _page(rule + tags, 10)
    assert sorted(item for item in page if item[0] == "t") == ["t1", "t2", "t3"]
    assert len(page) == 10
    assert all(item[0] == "c" for item in _page(rule + tags, 10, exploration=0.0))
    assert all(item[0] == "c" for item in _page(rule, 10)), "nothing to explore: the rule fills up"


@given(
    st.dictionaries(
        st.integers(0, 60),
        st.dictionaries(
            st.sampled_from(["collaborative", "tags", "wish"]), st.integers(1, 99), min_size=1
        ),
        min_size=1,
    ),
    st.integers(1, 30),
    st.floats(0, 1),
)
def test_pages_are_full_unrepeated_and_sorted(
    found: dict[int, dict[str, int]], n: int, exploration: float
) -> None:
    candidates = [Candidate(item_id=str(i), ranks=ranks) for i, ranks in found.items()]
    page = rank(
        candidates, {str(i): str(i) for i in found}, n, AgentsConfig(exploration=exploration)
    )
    assert len(page) == len({one.item_id for one in page}) <= n
    scores = [one.score for one in page]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)


def test_fusion_by_hand() -> None:
    found = np.array([[5, 7, -1], [7, 9, -1]], dtype=np.int32)
    rows, tags = channels.fuse(Hits(found, np.zeros((2, 3), dtype=np.float32)), ["x", "y"])
    assert rows[0] == 7, "found twice"
    assert set(rows) == {5, 7, 9}
    assert tags[7] == ("y", "x"), "the tag that ranked it higher comes first"
