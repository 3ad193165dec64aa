"""What makes a model's answer acceptable."""

from __future__ import annotations

import numpy as np
import pytest

from foretaste.agents import checks
from foretaste.agents.asking import CheckFailed
from foretaste.agents.tools import Tools

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


def _held(tools: Tools, text: str, item: str = "space-2") -> str:
    row = tools.dataset.row_of[item]
    return checks.grounded_sentence(
        text, tools.lexicon, row, tools.dataset.rows(["space-1"]), "Person: age 24"
    )


@pytest.mark.parametrize(
    "text",
    [
        "Like Star Voyage, it is a Sci-Fi adventure.",
        "Moon Station (1984) is an adventure for you.",
        "A Sci-Fi adventure that fits your age of 24.",
    ],
)
def test_facts_pass(tools: Tools, text: str) -> None:
    assert _held(tools, text) == text


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Moon Station won 7 prizes.", "'won'"),
        ("An adventure with Harrison Ford in it.", "'harrison'"),
        ("Moon Station, made in 1985.", "'made'"),
        ("Moon Station is from 1985.", "'1985'"),
        ("A fine horror adventure for you.", "'fine'"),
        ("You will like this item tonight because it suits", "no fact"),
        ("adventure adventure adventure adventure", "repeats itself"),
        ("", "empty"),
    ],
)
def test_what_no_fact_bears_out_fails(tools: Tools, text: str, fault: str) -> None:
    with pytest.raises(CheckFailed, match=fault):
        _held(tools, text)
