"""What makes a model's answer acceptable."""

from __future__ import annotations

import numpy as np
import pytest

from foretaste.agents.reasoning import checks
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording.asking import CheckFailed

ALL = np.ones(12, dtype=bool)


def test_a_tag_matches_items_that_carry_more_than_half_of_its_words(tools: Tools) -> None:
    ids = tools.dataset.item_ids
    assert [ids[row] for row in tools.lexicon.matching("romance drama")] == ["love-3", "love-4"]
    assert [ids[row] for row in tools.lexicon.matching("Autumn romance drama")] == [
        "love-3",
        "love-4",
    ]
    assert not len(tools.lexicon.matching("quantum cooking"))


@pytest.mark.parametrize("tag", ["", "the of", "one two three four five six seven"])
def test_a_tag_has_one_to_five_content_words(tools: Tools, tag: str) -> None:
    with pytest.raises(CheckFailed, match="content words"):
        checks.valid_tag(tag, tools.lexicon, ALL, set())


def test_a_tag_must_match_something_that_may_be_recommended(tools: Tools) -> None:
    assert checks.valid_tag("Thriller horror", tools.lexicon, ALL, set()) == "horror thriller"
    allowed = ALL.copy()
    allowed[tools.dataset.rows(["fear-2", "fear-3"])] = False
    with pytest.raises(CheckFailed, match="matches nothing"):
        checks.valid_tag("Thriller horror", tools.lexicon, allowed, set())


def test_a_tag_is_said_once_whatever_the_order_of_its_words(tools: Tools) -> None:
    with pytest.raises(CheckFailed, match="repeats"):
        checks.valid_tag("horror thriller", tools.lexicon, ALL, {"horror thriller"})


def test_about_tells_near_from_far(tools: Tools) -> None:
    rows = tools.dataset.rows(["space-1", "space-2"])
    assert checks.about(tools.vectors[rows].mean(axis=0), rows, tools.vectors)
    assert not checks.about(tools.vectors[8], rows, tools.vectors)
