"""Rules that learn: what was learnt event by event equals a rule fitted on all events."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretaste.data.histories import Histories
from foretaste.serving.rules import live
from foretaste.serving.rules.live import LiveRule
from foretaste.serving.rules.recipes import Material, fit, start_of

ITEMS = 8
TEXTS = {
    reading: [f"word{i % 3} word{i % 4} item" for i in range(ITEMS)]
    for reading in ("title", "title+brand", "title+brand+categories")
}
ROWS = st.integers(0, ITEMS - 1)
PEOPLE = st.lists(st.lists(ROWS, max_size=6), min_size=1, max_size=5)


def _rule(name: str, people: list[list[int]], **wanted: float) -> LiveRule:
    material = Material(Histories.from_lists(people), TEXTS)
    return LiveRule(fit(name, start_of(name) | wanted, material), material)


def _asked() -> Histories:
    return Histories.from_lists([[], *[[i] for i in range(ITEMS)], [3, 1, 2], [7, 0]])


def test_popularity_by_hand() -> None:
    rule = _rule("popularity", [[0, 1]])
    rule.learn([0, 1, 1], 2)
    assert rule.scores(_asked())[0].tolist() == [1, 2, 0, 0, 0, 0, 0, 0]
    assert rule.learnt == 1


def test_a_transition_by_hand() -> None:
    rule = _rule("transitions", [[0, 1]], window=2, back=0.0, gamma=0.0, power=0.0)
    rule.learn([0, 2], 1)
    found = rule.scores(Histories.from_lists([[0], [1], [2]]))
    assert found[0, :3].tolist() == [0, 0.5, 0.5]
    assert not found[1:].any()


@settings(deadline=None, max_examples=60)
@given(
    people=PEOPLE,
    more=st.lists(st.tuples(st.integers(0, 9), ROWS, st.floats(0, 1)), min_size=1, max_size=8),
    window=st.integers(1, 4),
    back=st.sampled_from([0.0, 0.5]),
    gamma=st.sampled_from([0.0, 0.5]),
    name=st.sampled_from(["transitions", "transitions_bm25", "untrained_mix", "popularity"]),
    remembered=st.sampled_from([0, 3, 4_000]),
)
def test_learning_equals_fitting(
    people: list[list[int]],
    more: list[tuple[int, int, float]],
    window: int,
    back: float,
    gamma: float,
    name: str,
    remembered: int,
) -> None:
    with patch.object(live, "_REMEMBERED", remembered):
        _learns_as_fitted(people, more, name, window=window, back=back, gamma=gamma)


def _learns_as_fitted(
    people: list[list[int]], more: list[tuple[int, int, float]], name: str, **wanted: float
) -> None:
    wanted = {} if name == "popularity" else wanted
    rule = _rule(name, people, **wanted)
    later = [list(one) for one in people]
    rule.scores(_asked())
    for user, row, where in more:
        own = later[user % len(later)]
        place = round(where * len(own))
        own.insert(place, row)
        rule.learn(list(own), place)
        rule.scores(_asked())
    fitted = _rule(name, later, **wanted)
    assert rule.scores(_asked()) == pytest.approx(fitted.scores(_asked()), abs=1e-4)


@settings(deadline=None, max_examples=20)
@given(PEOPLE, st.lists(ROWS, min_size=1, max_size=5))
def test_a_refit_takes_in_what_came_meanwhile(people: list[list[int]], more: list[int]) -> None:
    rule = _rule("untrained_mix", people, kin=0.5, power=0.25)
    later = [list(one) for one in people]
    half = len(more) // 2
    for number, row in enumerate(more):
        if number == half:
            assert rule.begin_refit()
            assert not rule.begin_refit()
            snapshot = Histories.from_lists(later)
        later[0] = [*later[0], row]
        rule.learn(later[0], len(later[0]) - 1)
    rule.refit(lambda: snapshot)
    assert rule.learnt == len(more) - half
    assert rule.begin_refit()
    rule.refit(lambda: Histories.from_lists(later))
    fitted = _rule("untrained_mix", later, kin=0.5, power=0.25)
    assert np.array_equal(rule.scores(_asked()), fitted.scores(_asked()))


def test_a_refit_that_fails_leaves_the_rule_as_it_is() -> None:
    rule = _rule("popularity", [[0, 1]])
    rule.learn([4], 0)

    def broken() -> Histories:
        raise OSError("the disk is gone")

    assert rule.begin_refit()
    with pytest.raises(OSError, match="disk"):
        rule.refit(broken)
    assert rule.scores(_asked())[0, 4] == 1
    assert rule.begin_refit(), "another one may begin"
