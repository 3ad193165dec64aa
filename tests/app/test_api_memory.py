"""Memory that a server frees goes back to the system."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from foretaste.app.api import memory


def _own_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_what_was_freed_between_what_stays_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "GIVE_BACK_S", 0.05)
    held = [bytearray(20_000) for _ in range(5_000)]  # 100 MB in pieces that malloc keeps

    async def for_a_while() -> None:
        task = asyncio.create_task(memory.give_back_freed_memory())
        await asyncio.sleep(0.5)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    before = _own_mb()
    del held[:-1]  # the last one stands above all that is freed
    asyncio.run(for_a_while())
    assert _own_mb() < before - 50
