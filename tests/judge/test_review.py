"""Tiers and majorities: by hand, then laws."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from foretaste.judge.objects import MARKS, POINTS, TIERS, Fault, Judgement, Mark, Verdict
from foretaste.judge.panel import disagreement, majority, middle_mark
from foretaste.judge.review import lower_of, score_of, tier_of

N, A, P = MARKS
marks = st.lists(st.sampled_from(MARKS), min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("given_marks", "excellent", "tier"),
    [
        ([P, P, P, A], 0.7, "S"),  # 0.75
        ([P, P, A, A], 0.7, "A"),
        ([P, P, P, N], 0.7, "B"),
        ([P, A], 0.5, "S"),  # a share of exactly τ is enough
        ([A], 1.0, "A"),
        ([P], 1.0, "S"),
    ],
)
def test_tiers_by_hand(given_marks: list[Mark], excellent: float, tier: str) -> None:
    assert tier_of(given_marks, excellent) == tier


@settings(deadline=None)
@given(marks, st.floats(0.01, 1))
def test_a_better_mark_never_makes_a_worse_tier(some: list[Mark], excellent: float) -> None:
    place = TIERS.index(tier_of(some, excellent))
    for at, mark in enumerate(some):
        if mark != P:
            better = [*some[:at], MARKS[MARKS.index(mark) + 1], *some[at + 1 :]]
            assert TIERS.index(tier_of(better, excellent)) <= place
            assert score_of(better) > score_of(some)


@settings(deadline=None)
@given(st.sampled_from(TIERS), st.sampled_from(TIERS))
def test_a_reviewer_may_only_lower(rule: str, said: str) -> None:
    assert TIERS.index(lower_of(rule, said)) >= TIERS.index(rule)


def _said(*some: Mark, judge: str = "") -> Judgement:
    verdicts = tuple(Verdict(dimension=f"d{i}", mark=m, reason=judge) for i, m in enumerate(some))
    return Judgement(id="1", tier=tier_of(some, 0.7), score=score_of(some), verdicts=verdicts)


UNREAD = Judgement(id="1", faults=(Fault(dimension="d0", reason="noise"),))


def test_a_majority_by_hand() -> None:
    whole = majority([_said(P, N, judge="x"), _said(P, A, judge="y"), _said(A, A)], "xyz", 0.5)
    assert [one.mark for one in whole.verdicts] == [P, A]
    assert [one.reason for one in whole.verdicts] == ["x", "y"]
    assert whole.tier == "S"
    assert whole.score == pytest.approx((0.5 + 0.75 + 0.5) / 3, abs=1e-4)
    assert whole.disagreement == pytest.approx(2 / 3, abs=1e-4)  # B, A and A
    assert [vote.tier for vote in whole.votes] == ["B", "A", "A"]


def test_who_could_not_be_read_abstains() -> None:
    whole = majority([UNREAD, _said(P, P)], "xy", 0.7)
    assert whole.tier == "S"
    assert whole.votes[0].tier is None
    none = majority([UNREAD, UNREAD], "xy", 0.7)
    assert none.tier is None
    assert none.score is None
    assert len(none.faults) == 2


def test_scores_alone_have_a_mean_and_no_tier() -> None:
    whole = majority([Judgement(id="1", score=0.2), Judgement(id="1", score=0.6)], "xy", 0.7)
    assert (whole.tier, whole.score, whole.disagreement) == (None, 0.4, None)


@settings(deadline=None)
@given(st.lists(st.sampled_from(MARKS), min_size=1, max_size=7))
def test_the_middle_mark_is_in_the_middle(some: list[Mark]) -> None:
    middle = POINTS[middle_mark(some)]
    assert sum(POINTS[one] < middle for one in some) <= len(some) / 2
    assert sum(POINTS[one] > middle for one in some) <= len(some) / 2


def test_disagreement_by_hand() -> None:
    assert disagreement(["S", "S", "S"]) == 0.0
    assert disagreement(["S", "S", "A", "B"]) == pytest.approx(5 / 6, abs=1e-4)
    assert disagreement(["S"]) is None


def test_what_was_not_read_can_have_no_score() -> None:
    with pytest.raises(ValidationError, match="neither tier nor score"):
        Judgement(id="1", score=0.0, faults=(Fault(dimension="d", reason="noise"),))
