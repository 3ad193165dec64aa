"""Admission: so many runs at once, so many waiting in the order they came, the others told to wait.

On a machine whose cores are busy more runs at once make every one of them slower and none of them
sooner. A short queue in order of arrival keeps the slowest answer near the usual one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from foretaste.app.api.errors import Refused

_SMOOTHING = 0.1  # weight of the newest run in the usual duration
_LONGEST_S = 30.0  # that a caller is told to wait beyond what it has to


class Gate:
    """Lets `runs` at a time through, keeps up to `waiting` in line.

    Attributes:
        active: runs under way.
        line: callers that wait.
    """

    def __init__(self, runs: int, waiting: int) -> None:
        self._runs, self._waiting = runs, waiting
        self._places = asyncio.Semaphore(runs)  # wakes its waiters in the order they came
        self._usual_s = 0.5
        self._promised = 0.0
        self.active = self.line = 0

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """One run.

        Raises:
            Refused: 503 with the seconds until there should be room.
        """
        if self._places.locked() and self.line >= self._waiting:
            left = self.turn((self.line + 1) * self._usual_s / self._runs)
            raise Refused(503, "busy", "Too many requests wait already; ask again later.", left)
        self.line += 1
        try:
            await self._places.acquire()
        finally:
            self.line -= 1
        self.active += 1
        started = time.monotonic()
        try:
            yield
            # What failed at once tells nothing about how long a run takes.
            self._usual_s += _SMOOTHING * (time.monotonic() - started - self._usual_s)
        finally:
            self.active -= 1
            self._places.release()

    def turn(self, wait_s: float) -> float:
        """Seconds after which a refused caller should ask again, a turn of its own for each.

        All told the same would come back at the same moment, and everybody else would wait behind
        the crowd. So callers are told times as far apart as runs end.

        Args:
            wait_s: seconds until there can be room at all.
        """
        now = time.monotonic()
        first, last = now + wait_s, now + wait_s + _LONGEST_S
        self._promised = min(max(first, self._promised + self._usual_s / self._runs), last)
        return self._promised - now
