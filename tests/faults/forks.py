"""A piece of work in a process of its own, forked from this warm one, and ways to end it early.

What is forked has every module imported and no thread running, so that a moment of the undisturbed
run is a moment of the work and not of Python's start.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = float(os.environ.get("FAULT_LIMIT", "120"))  # after which a run counts as hanging
_LOOK_S = 0.002
_TELL_S = 0.5  # for a run that hangs to write down where
_CHANGES = frozenset(
    {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "sqlite3.connect"}
)


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        code: exit code; negative for a signal; None when it hung and was ended.
        seconds: of wall time.
        said: both its standard streams.
    """

    code: int | None
    seconds: float
    said: str

    @property
    def fault(self) -> str | None:
        """What is wrong with how it spoke: a traceback, or a crash of the interpreter."""
        if self.code is None:
            return "it hung"
        if "Traceback (most recent call last)" in self.said or "panicked" in self.said:
            return "it ended in a traceback"
        return None


@dataclass(frozen=True)
class Moment:
    """When a run is killed with -9: after `seconds`, or just before its n-th change of a file."""

    seconds: float | None = None
    change: int | None = None

    def __str__(self) -> str:
        """For the report of a failure."""
        return f"{self.seconds:.3f} s" if self.seconds is not None else f"change {self.change}"


def run(
    work: Callable[[], None],
    said: Path,
    kill: Moment | None = None,
    counted: Path | None = None,
    limit_s: float = LIMIT_S,
) -> Ended:
    """Run `work` in a fork of this process; its whole process group ends with it.

    Args:
        work: `SystemExit` gives the exit code, as for a command.
        said: where its standard streams go.
        kill: when to end it with -9.
        counted: where the number of its changes of files goes.
        limit_s: seconds until it counts as hanging.
    """
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(work, said, kill, counted)
    code = _wait(child, begun, kill.seconds if kill else None, limit_s)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    text = said.read_text("utf-8", "replace") if said.exists() else ""
    return Ended(code, time.monotonic() - begun, text)


@contextlib.contextmanager
def beside(work: Callable[[], None], said: Path) -> Iterator[int]:
    """`work` in a fork that lives as long as the block; gives its process id."""
    child = os.fork()
    if child == 0:
        _child(work, said, None, None)
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)


def moments(seed: int, seconds: float, changes: int, number: int) -> Moment:
    """The n-th moment of a run: by turns of the clock and of its changes of files."""
    draw = random.Random(f"{seed} {number}")
    if number % 2 and changes:
        return Moment(change=draw.randint(1, changes))
    return Moment(seconds=draw.uniform(0, seconds))


def _wait(child: int, begun: float, kill_s: float | None, limit_s: float) -> int | None:
    """The exit code of a child that is ended at its moment, or when it hangs."""
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        spent = time.monotonic() - begun
        if spent > limit_s:  # where it hangs belongs in the report
            os.kill(child, signal.SIGUSR1)
            time.sleep(_TELL_S)
        if spent > limit_s or (kill_s is not None and spent >= kill_s):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None if spent > limit_s else -signal.SIGKILL
        time.sleep(_LOOK_S)


def _child(work: Callable[[], None], said: Path, kill: Moment | None, counted: Path | None) -> None:
    """The life of the fork; never returns."""
    code = 1
    try:
        os.setpgid(0, 0)
        out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout = open(1, "w", closefd=False, buffering=1)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        count = _watch(kill.change if kill else None)
        try:
            work()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if counted is not None:
            counted.write_text(str(count()))
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _watch(kill_at: int | None) -> Callable[[], int]:
    """Count the changes of files that Python makes from here on; die just before the n-th."""
    seen = [0]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            flags = arguments[2]
            changes = isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
        else:
            changes = event in _CHANGES
        if changes:
            seen[0] += 1
            if seen[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return lambda: seen[0]
