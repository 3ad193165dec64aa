"""How much one key may ask: a token bucket for the rate, a count for what is under way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from foretaste.app.api.errors import Refused


@dataclass
class _Use:
    """What one key has used."""

    tokens: float
    since: float
    under_way: int = 0


@dataclass
class Limits:
    """The limits of all keys of one server.

    Attributes:
        clock: seconds that only grow.

    >>> now = 0.0
    >>> limits = Limits(clock=lambda: now)
    >>> with limits.using("shop", rate=1, burst=1, concurrency=9): pass
    >>> limits.wait_s("shop", rate=1, burst=1)
    1.0
    """

    clock: Callable[[], float] = time.monotonic
    _uses: dict[str, _Use] = field(default_factory=dict)

    @contextmanager
    def using(self, name: str, rate: float, burst: int, concurrency: int) -> Iterator[None]:
        """One request of key `name`.

        Args:
            rate: requests a second in the long run.
            burst: requests at once after a pause.
            concurrency: requests under way.

        Raises:
            Refused: 429 with the seconds to wait.
        """
        wait = self.wait_s(name, rate, burst)
        use = self._uses[name]
        if wait > 0:
            raise too_often(rate, wait)
        if use.under_way >= concurrency:
            raise Refused(
                429, "concurrency_limit", f"This key may have {concurrency} requests under way.", 1
            )
        use.tokens -= 1
        use.under_way += 1
        try:
            yield
        finally:
            use.under_way -= 1

    def wait_s(self, name: str, rate: float, burst: int) -> float:
        """Seconds until key `name` may ask again; 0 for now."""
        now = self.clock()
        use = self._uses.setdefault(name, _Use(float(burst), now))
        use.tokens = min(float(burst), use.tokens + (now - use.since) * rate)
        use.since = now
        return max(0.0, (1 - use.tokens) / rate)


def too_often(rate: float, wait_s: float) -> Refused:
    """The refusal of a key that asks more often than it may."""
    return Refused(429, "rate_limit", f"This key may ask {rate:g} times a second.", wait_s)
