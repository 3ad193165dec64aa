"""What every training shares: a run's folder, its estimate, stopping and going on.

A run is a folder `<home>/runs/<kind>/<data set>-<digest of all that decides it>`, so the same command
finds it again. In it: `settings.json` (everything resolved), `state.safetensors` (weights, optimizer and
how far it came, in one file that is replaced whole), `curve.json` and `result.json`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.files import read_json, replacing, safe_name, subfolder, write_json
from foretaste.data.progress import note

SETTINGS, STATE = "settings.json", "state.safetensors"
ANSWERS = "[y/n]"  # ends a line that asks
CURVE, RESULT = "curve.json", "result.json"
_ASKING: ContextVar[bool] = ContextVar("asking", default=False)
_SPARE = 0.9  # share of the free memory or disk that a training may take


@dataclass(frozen=True)
class Estimate:
    """What a training will take, from a short probe.

    Attributes:
        seconds: of wall time on this machine as it is now.
        memory_mb: resident memory at the peak, what is in use already counted.
        disk_mb: of its run and its export.
    """

    seconds: float
    memory_mb: float
    disk_mb: float

    def check(self, folder: Path) -> None:
        """Say what is expected, refuse what cannot fit, and ask where that is wanted.

        Args:
            folder: where it will be written.

        Raises:
            InputError: there is not enough free memory or disk.
            KeyboardInterrupt: somebody was asked and did not say yes.
        """
        import psutil

        note(
            f"Expected: {_time(self.seconds)}, {self.memory_mb:,.0f} MB of memory, "
            f"{self.disk_mb:,.0f} MB of disk."
        )
        used = psutil.Process().memory_info().rss / 1e6
        memory = psutil.virtual_memory().available / 1e6
        disk = shutil.disk_usage(folder).free / 1e6
        if self.memory_mb - used > memory * _SPARE:
            raise InputError(
                f"This training needs about {self.memory_mb:,.0f} MB of memory and {memory:,.0f} MB "
                "are free; make batch, dim or negatives smaller (--set)."
            )
        if self.disk_mb > disk * _SPARE:
            raise InputError(
                f"This training needs about {self.disk_mb:,.0f} MB of disk and {disk:,.0f} MB are "
                "free; free some, or set FORETASTE_HOME to another disk."
            )
        confirmed("Begin?")


class _Held:
    """The lock on a run's folder: let go with the last `Run` that has it, or with the process."""

    def __init__(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._file = (folder.parent / f".{folder.name}.lock").open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)


_HELD: WeakValueDictionary[Path, _Held] = WeakValueDictionary()  # of this process


def _hold(folder: Path) -> _Held:
    """The lock of a run's folder, this process's own if it has it already.

    Raises:
        InputError: another process has it.
    """
    held = _HELD.get(folder)
    if held is None:
        try:
            held = _HELD[folder] = _Held(folder)
        except BlockingIOError as error:
            raise InputError(
                f"Another training of these very settings is under way in {folder}; wait for it."
            ) from error
    return held


@dataclass(frozen=True)
class Run:
    """One training's folder, and the lock on it of the process that trains."""

    folder: Path
    held: _Held | None = field(default=None, repr=False, compare=False)

    def save_state(self, tensors: dict[str, Any], facts: dict[str, Any]) -> None:
        """Replace the state as a whole; a kill in between leaves the one before.

        Args:
            tensors: torch tensors by name.
            facts: JSON values that belong to them.
        """
        from safetensors.torch import save_file

        whole = {name: value.detach().contiguous() for name, value in tensors.items()}
        with replacing(self.folder / STATE) as part:
            save_file(whole, part, metadata={"facts": json.dumps(facts)})

    def load_state(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Tensors and facts of the last state, or None when there is none.

        Raises:
            ForetasteError: the state is damaged.
        """
        from safetensors import SafetensorError, safe_open

        path = self.folder / STATE
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return tensors, json.loads((file.metadata() or {})["facts"])
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise ForetasteError(
                f"The state in {path} is damaged ({error}); run the command without --resume to "
                "begin anew."
            ) from error

    def save_curve(self, rows: list[dict[str, Any]]) -> None:
        """What was measured so far, one row an epoch."""
        write_json(self.folder / CURVE, rows)

    def finish(self, result: dict[str, Any]) -> None:
        """Save the result; the state has done its work and is removed."""
        write_json(self.folder / RESULT, result)
        (self.folder / STATE).unlink(missing_ok=True)

    def finished(self) -> dict[str, Any] | None:
        """The result of a run that came to its end."""
        path = self.folder / RESULT
        return dict(read_json(path)) if path.exists() else None


def run_folder(kind: str, name: str, settings: dict[str, Any]) -> Path:
    """Where the run stands that these settings decide; it need not be there."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    return subfolder("runs", kind) / f"{safe_name(name)[:100]}-{digest}"


def open_run(kind: str, name: str, settings: dict[str, Any], resume: bool) -> Run:
    """The folder of the run that these settings decide.

    Without `resume` it begins anew, and what an earlier try left there is removed.

    Args:
        kind: of training.
        name: of the data set.
        settings: all that decides the outcome: configuration and fingerprints, as JSON values.
        resume: go on where an earlier try stopped.

    Raises:
        InputError: there is nothing to resume, or another process trains there.
    """
    folder = run_folder(kind, name, settings)
    run = Run(folder, _hold(folder))
    begun = (folder / STATE).exists() or run.finished() is not None
    if resume and not begun:
        raise InputError(
            f"There is no unfinished run of these settings on {name} to resume; leave --resume out "
            "or give the same --preset, --set and --seed."
        )
    if not resume and folder.exists():
        if (folder / STATE).exists():
            confirmed("An unfinished run of these settings would be given up. Begin anew?")
            note("An unfinished run of these settings is given up; --resume would have gone on.")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SETTINGS, settings)
    return run


class Stop:
    """Whether somebody asked to stop."""

    asked = False


def ask_first() -> None:
    """From now on a training waits for a yes on standard input before it begins."""
    _ASKING.set(True)


def confirmed(question: str) -> None:
    """Return at once where nobody wants to be asked, and after a yes where somebody does.

    Raises:
        KeyboardInterrupt: the answer was something else, or there was none.
    """
    if not _ASKING.get():
        return
    note(f"{question} {ANSWERS}")
    if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
        raise KeyboardInterrupt


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Turn Ctrl-C and a polite kill into `asked`, so that a state is saved before the end.

    A second Ctrl-C ends at once. Outside the main thread signals are left alone.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: Any) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True
        note("Stopping after this step; once more to stop at once.")

    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, ask) for kind in kinds]
    try:
        yield stop
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


def peak_mb() -> int:
    """Resident memory of this process at its peak, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3))


def matmul_flops(size: int = 1024, seconds: float = 0.3, kind: str = "float32") -> float:
    """Floating-point operations a second of a large product on torch's threads: the best that this
    machine does in arithmetic of this kind, which training is compared with.

    Seconds are those that the calling thread computed, so that a product which other programs
    interrupt is not taken for a slow one.
    """
    import torch

    left, right = (torch.randn(size, size).to(getattr(torch, kind)) for _ in range(2))
    best, start = float("inf"), time.thread_time()
    while time.thread_time() - start < seconds:
        begin = time.thread_time()
        torch.mm(left, right)
        best = min(best, time.thread_time() - begin)
    return 2 * size**3 / best


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
