"""Memory of a process that runs for long."""

from __future__ import annotations

import asyncio
import ctypes
from contextlib import suppress

_M_ARENA_MAX = -8  # of glibc's malloc.h
GIVE_BACK_S = 20.0  # between two times


def share_freed_memory() -> None:
    """Let all threads allocate from one pool, where the C library is glibc.

    With a pool a thread, what one thread frees no other uses, and a process under load grows for
    minutes. Counts only before the process has a second thread, so before the large imports.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


async def give_back_freed_memory() -> None:
    """Hand free pages of the pool back to the system again and again, until cancelled.

    It keeps them otherwise, a few megabytes more at each larger request; 1 to 20 ms a time (docs/log.md,
    2026-11-22). Does nothing where the C library is not glibc.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await asyncio.sleep(GIVE_BACK_S)
        await asyncio.to_thread(trim, 0)
