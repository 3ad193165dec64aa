"""The arbiter's joint choice: numbers by hand, then laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretaste.agents.objects import Tag
from foretaste.agents.reasoning import choosing
from foretaste.agents.reasoning.choosing import Limits, Sheet, choose

EVEN = (0.2, 0.2, 0.2, 0.2, 0.2)
NO_LIMIT = Limits(1.0, 1.0)


def _tags(*personas: int) -> list[Tag]:
    return [
        Tag(text=f"tag {n}", persona=persona, reason="r", source="fallback")
        for n, persona in enumerate(personas)
    ]


def _sheet(relevance: list[float], found: list[set[int]]) -> Sheet:
    same = np.full(len(relevance), 0.5)
    return Sheet(np.array(relevance), same, same, same, [frozenset(one) for one in found])


def test_specificity_is_idf_as_a_share() -> None:
    assert choosing.specificity(1, 1000) == 1.0
    assert choosing.specificity(1000, 1000) == pytest.approx(0.0)
    assert choosing.specificity(10, 1000) == pytest.approx(2 / 3)


def test_every_persona_is_heard_and_the_numbers_stand_in_the_reasons() -> None:
    sheet = _sheet([0.9, 0.8, 0.1], [{1, 2}, {3, 4}, {5, 6}])
    verdicts = choose(_tags(0, 0, 1), sheet, 2, NO_LIMIT, EVEN)
    assert [verdict.kept for verdict in verdicts] == [True, False, True]
    assert verdicts[0].reason == (
        "best of its persona: relevance 0.90, consistency 0.50, specificity 0.50, validity 0.50, "
        "coverage 1.00"
    )
    assert verdicts[1].reason.startswith("2 others score higher: relevance 0.80")


def test_a_tag_that_finds_what_a_kept_one_finds_is_dropped() -> None:
    sheet = _sheet([0.9, 0.8, 0.1], [{1, 2, 3, 4}, {1, 2, 3, 9}, {7, 8, 9, 10}])
    verdicts = choose(_tags(0, 0, 0), sheet, 3, Limits(0.5, 1.0), EVEN)
    assert [verdict.kept for verdict in verdicts] == [True, False, True]
    assert "finds 75% of the same items as 'tag 0'" in verdicts[1].reason


def test_what_another_persona_finds_already_is_counted() -> None:
    sheet = _sheet([0.9, 0.8], [set(range(50)), set(range(48, 98))])
    assert not choose(_tags(0, 1), sheet, 2, Limits(0.5, 0.02), EVEN)[1].kept
    reason = choose(_tags(0, 1), sheet, 2, Limits(0.5, 0.02), EVEN)[1].reason
    assert "2 of its 50 items are found for another persona already" in reason
    assert choose(_tags(0, 0), sheet, 2, Limits(0.5, 0.02), EVEN)[1].kept, "its own persona may"
    assert choose(_tags(0, 1), sheet, 2, Limits(0.5, 0.04), EVEN)[1].kept


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sets(st.integers(0, 30), min_size=1, max_size=8)),
        min_size=1,
        max_size=10,
    ),
    st.integers(1, 10),
    st.floats(0.1, 1.0),
    st.floats(0, 0.5),
)
def test_no_two_kept_tags_find_too_much_in_common(
    drawn: list[tuple[int, set[int]]], count: int, same: float, others: float
) -> None:
    tags = _tags(*(persona for persona, _ in drawn))
    sheet = _sheet([0.5] * len(tags), [found for _, found in drawn])
    verdicts = choose(tags, sheet, count, Limits(same, others), EVEN)
    assert [verdict.tag for verdict in verdicts] == tags
    kept = [n for n, verdict in enumerate(verdicts) if verdict.kept]
    assert 1 <= len(kept) <= count
    for n in kept:
        for other in kept:
            if other != n:
                assert choosing.common(sheet.found[n], sheet.found[other]) < same
    lists: dict[int, set[int]] = {persona: set() for persona, _ in drawn}
    for n in kept:
        lists[tags[n].persona] |= sheet.found[n]
    total = sum(len(sheet.found[n]) for n in kept)
    doubles = sum(map(len, lists.values())) - len(set().union(*lists.values()))
    assert doubles <= others * total + 1e-9
