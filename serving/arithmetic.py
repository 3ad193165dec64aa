"""What this processor computes fast: decided by a short probe, never by its name."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_SIDE = 384  # of the matrices that are multiplied to find out
_TRIES = 7
_WORTH = 1.5  # times faster than float32 that bfloat16 has to be


# Matrix kernels that oneDNN and PyTorch each keep; they would keep 1,024, at 0.1 MB and more apiece.
KERNELS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256", "LRU_CACHE_CAPACITY": "256"}


def keep_few_kernels() -> None:
    """Bound the memory of matrix kernels made for single shapes, unless the environment does.

    A server that embeds short texts meets hundreds of shapes (docs/log.md, 2026-11-22). Works only
    before torch is loaded.
    """
    for name, most in KERNELS.items():
        os.environ.setdefault(name, most)


def few_sizes(count: int, least: int) -> int:
    """The next size from `count` on, of `least` (a power of two), 1.5, 2, 3, 4, 6, … times that.

    A bfloat16 matrix product gets a kernel of its own for every number of rows: 4 to 12 ms, and about
    a megabyte that stays. What is filled up to few sizes meets few of them.

    >>> [few_sizes(count, 8) for count in (2, 9, 13, 33, 129)]
    [8, 12, 16, 48, 192]
    """
    size = least
    while size < count:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size


def wait_patiently() -> None:
    """Let OpenMP's idle threads sleep instead of spin, unless the environment says otherwise.

    Two spinning threads on cores that others use too are several times slower than one
    (docs/log.md, 2026-11-22). Works only before a library with OpenMP is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@cache
def fast_bfloat16() -> bool:
    """Whether matrix products in bfloat16 are clearly faster than in float32 on this processor.

    True with AVX-512 BF16, AMX or the like; without them bfloat16 is several times slower. Takes
    about 20 ms, once a process.
    """
    import torch

    def best_s(kind: torch.dtype) -> float:
        a = torch.ones(_SIDE, _SIDE, dtype=kind)  # (_SIDE, _SIDE)
        best = float("inf")
        for _ in range(_TRIES):
            start = time.perf_counter()
            a @ a
            best = min(best, time.perf_counter() - start)
        return best

    with threads(1):
        return best_s(torch.bfloat16) * _WORTH < best_s(torch.float32)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with `count` threads inside the block, on the calling thread alone."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
