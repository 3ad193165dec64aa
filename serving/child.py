"""A child process that never outlives its parent, even when the parent is killed with -9."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PARENT = "FORETASTE_PARENT_PID"  # environment variable: who the child expects as its parent
_PR_SET_PDEATHSIG = 1


def child_environment() -> dict[str, str]:
    """This process's environment, marked so that the child knows whose child it is."""
    return os.environ | {PARENT: str(os.getpid())}


def die_with_parent() -> None:
    """Be killed when the thread that started this process ends (Linux; elsewhere nothing).

    A parent that was gone before the kernel could be asked is noticed by its process id. To be
    called first thing in the child, which the parent started with `child_environment`.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    expected = os.environ.get(PARENT)
    if expected and int(expected) != os.getppid():
        os._exit(1)
    os.environ[PARENT] = str(os.getpid())  # what this process starts expects it in turn
