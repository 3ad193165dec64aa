"""Memory of a process that runs for long."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_ARENA_MAX = -8  # of glibc's malloc.h


def share_freed_memory() -> None:
    """Let all threads allocate from one pool, where the C library is glibc.

    With a pool a thread, what one thread frees no other uses, and a process under load grows for
    minutes. Counts only before the process has a second thread, so before the large imports.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
