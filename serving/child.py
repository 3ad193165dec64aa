"""A child process that never outlives its parent, even when the parent is killed with -9."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PARENT = "FORETASTE_PARENT_PID"  # environment variable: who the child expects as its parent
_PR_SET_PDEATHSIG = 1
#: Keys, and addresses that may hold passwords: for this program alone.
_SECRETS = frozenset(
    {
        *("FORETASTE_API_KEY", "OPENAI_API_KEY", "HF_TOKEN"),
        *("FORETASTE_INDEX_KEY", "FORETASTE_INDEX_URI", "FORETASTE_STATE", "FORETASTE_CHECKPOINTS"),
    }
)


def child_environment(*, secrets: bool = False) -> dict[str, str]:
    """This process's environment, marked so that the child knows whose child it is.

    Args:
        secrets: whether the child is this very program and may know keys and passwords.
    """
    kept = {key: value for key, value in os.environ.items() if secrets or key not in _SECRETS}
    return kept | {PARENT: str(os.getpid())}


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
