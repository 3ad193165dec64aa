"""What refused callers are told: a turn of its own for each, none before there can be room."""

from __future__ import annotations

import asyncio

import pytest

from foretaste.app.api.errors import Refused
from foretaste.app.api.gate import Gate
from foretaste.data.errors import EngineUnavailable


def test_refused_callers_are_told_turns_as_far_apart_as_runs_end() -> None:
    gate = Gate(runs=2, waiting=0)  # a run takes half a second until one was measured
    turns = [gate.turn(3.0) for _ in range(4)]
    assert turns == pytest.approx([3.0, 3.25, 3.5, 3.75], abs=0.05)


def test_nobody_is_sent_away_for_longer_than_half_a_minute_beyond_the_wait() -> None:
    gate = Gate(runs=1, waiting=0)
    turns = [gate.turn(2.0) for _ in range(200)]
    assert turns == sorted(turns)
    assert turns[-1] == pytest.approx(32.0, abs=0.05)


def test_a_caller_whom_the_line_has_no_room_for_is_told_when_to_come() -> None:
    async def told() -> list[str]:
        gate = Gate(runs=1, waiting=0)
        headers = []
        async with gate.admitted():
            for _ in range(5):
                with pytest.raises(Refused) as refused:
                    async with gate.admitted():
                        pass
                headers.append((refused.value.headers or {})["Retry-After"])
        return headers

    assert asyncio.run(told()) == ["1", "1", "2", "2", "3"]


def test_runs_that_fail_at_once_do_not_bring_callers_back_sooner() -> None:
    async def told() -> list[float]:
        gate = Gate(runs=2, waiting=0)
        for _ in range(100):
            with pytest.raises(EngineUnavailable):
                async with gate.admitted():
                    raise EngineUnavailable("gone", 3.0)
        return [gate.turn(3.0) for _ in range(3)]

    assert asyncio.run(told()) == pytest.approx([3.0, 3.25, 3.5], abs=0.05)
