"""What is new and what rises: by hand, and learning event by event equals counting all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretaste.agents.retrieval.pulse import Pulse

DAY = 86_400
EVENTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 40)), min_size=1, max_size=30)


def _pulse(events: list[tuple[int, int]], days: float = 5) -> Pulse:
    """From (row, day) pairs."""
    rows = np.array([row for row, _ in events], dtype=np.int32)
    times = np.array([day * DAY for _, day in events], dtype=np.int64)
    return Pulse(rows, times, 5, days)


def test_by_hand() -> None:
    pulse = _pulse([(0, 1), (0, 2), (1, 8), (1, 9), (2, 9), (0, 9)])
    # Today is day 9: the last window is days 5 to 9, the one before days 0 to 4.
    assert pulse.rises() == pytest.approx([(1 - 2) / 2, 2 / 3**0.5, 1 / 2**0.5, 0, 0])
    assert set(pulse.fresh()) == {1, 2}
    pulse.arrived([4, 0], 9 * DAY + 5)
    assert pulse.fresh()[0] == 4
    assert 0 not in pulse.fresh(), "seen before, it is no newer"


def test_a_later_item_is_known_too() -> None:
    pulse = _pulse([(0, 1)])
    pulse.add([7], [2 * DAY])
    assert pulse.rises().shape == (8,)
    assert pulse.fresh()[0] == 7


@given(EVENTS, EVENTS, st.sampled_from([1, 3, 5]))
def test_event_by_event_equals_all_at_once(
    before: list[tuple[int, int]], later: list[tuple[int, int]], days: int
) -> None:
    pulse = _pulse(before, days)
    pulse.add([row for row, _ in later], [day * DAY for _, day in later])
    whole = _pulse(before + later, days)
    assert pulse.rises().tolist() == whole.rises().tolist()
    assert sorted(pulse.fresh()) == sorted(whole.fresh())
