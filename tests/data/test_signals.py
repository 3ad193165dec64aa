"""What events tell: codes by hand, and that they never depend on what comes later."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from foretaste.data.histories import Histories
from foretaste.data.signals import ACTIONS, GAPS, signals, telling
from foretaste.data.tables import EVENTS

NONE = float("nan")


def test_codes_are_those_of_a_hand_calculation() -> None:
    found = signals(
        ["rating", "rating", "rating", "view", "rating"],
        np.array([4.0, 1.0, 5.0, NONE, 2.0]),
        np.array([10, 10, 13, 4_000_000_000, 5]),
        np.array([0, 0, 0, 0, 1]),
    )
    rating = 1 + 4 * EVENTS.index("rating")
    # means so far 4, 2.5, 3.33: near, below, above; another person begins anew
    assert found[:, 0].tolist() == [rating + 2, rating + 1, rating + 3, 1, rating + 2]
    assert found[:, 1].tolist() == [0, 1, 2, 1 + 31 // 2, 0]


def test_what_is_the_same_for_every_event_tells_nothing() -> None:
    same = signals(["view"] * 3, np.full(3, NONE), None, np.zeros(3, dtype=np.int64))
    assert telling(same) is None
    timed = signals(["view"] * 3, np.full(3, NONE), np.array([1, 2, 90]), np.zeros(3, dtype=int))
    kept = telling(timed)
    assert kept is not None
    assert not kept[:, 0].any()
    assert signals(["swim"], np.array([1.0]), None, np.zeros(1, dtype=int)).tolist() == [[0, 0]]
    assert telling(np.zeros((0, 2), dtype=np.int8)) is None


EVENT = st.tuples(
    st.integers(0, 3),
    st.sampled_from(EVENTS),
    st.one_of(st.just(NONE), st.floats(-9, 9)),
    st.integers(0, 2**40),
)


@given(st.lists(EVENT, min_size=1, max_size=20), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_codes_stay_in_range_and_a_beginning_has_the_same_ones(
    events: list[tuple[int, str, float, int]], count: int
) -> None:
    events = sorted(events, key=lambda one: (one[0], one[3]))
    owners, kinds, values, times = (list(column) for column in zip(*events, strict=True))

    def codes(most: int) -> np.ndarray:
        given = np.array(values[:most]), np.array(times[:most]), np.array(owners[:most])
        return signals(kinds[:most], *given)

    whole = codes(len(events))
    assert whole.min() >= 0
    assert (whole.max(axis=0) < [ACTIONS, GAPS]).all()
    assert np.array_equal(codes(count), whole[:count])


def test_histories_carry_them_along() -> None:
    codes = np.arange(12, dtype=np.int8).reshape(6, 2)
    both = Histories(np.arange(6, dtype=np.int32), np.array([0, 4, 6]), codes)
    assert both.newest(1).signals.tolist() == [[6, 7], [10, 11]]
    assert both.slice(1, 2).signals.tolist() == [[8, 9], [10, 11]]
