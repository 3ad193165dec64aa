"""A disk that is full or may not be written: a clear sentence, and the next run completes."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import forks
import shop
from endpoint import endpoint
from killed import Killed
from trials import Verdict, copied, with_endpoint

_CAPABILITIES = 0x20080522  # version of the kernel's interface
_PAST_MODES = 0b1110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER


class Full:
    """A command on a disk with less room than it needs.

    A small file system in memory is mounted where that is allowed; elsewhere the process may write
    no file above a size (RLIMIT_FSIZE), which fails the same calls with another reason.
    """

    most: int | None = 10

    def __init__(self, killed: Killed, seed: int) -> None:
        self.killed, self.name, self.seed = killed, killed.name, seed
        self.fault = f"disk full ({'mount' if _may_mount() else 'limit of file size'})"

    def prepare(self, folder: Path) -> None:
        """How much the undisturbed run leaves on the disk."""
        self.killed.prepare(folder)
        grown = [_size(place) for place in (self.killed.template, self.killed.undisturbed)]
        self.start, self.needed = grown[0], max(grown[1] - grown[0], 4096)

    def trial(self, number: int, folder: Path) -> Verdict:
        """Run where a random part of that fits, then where all does."""
        verdict = Verdict()
        share = random.Random(f"{self.seed} full {number}").random()
        with ExitStack() as stack:
            url = stack.enter_context(endpoint(folder)) if self.killed.command.endpoint else None
            room = int(self.needed * share)
            place = folder / "disk"
            place.mkdir()
            if _may_mount():
                stack.enter_context(_mounted(place, self.start + room))
                home = copied(self.killed.template, place / "one")
                ended = self._limited(home, url, None)
                shutil.copytree(home.parent, folder / "one", symlinks=True)
            else:
                home = copied(self.killed.template, folder / "one")
                ended = self._limited(home, url, max(room, 1))
            told_kindly(ended, verdict)
            home = folder / "one" / "home"
            self.killed.go_on(home, url, verdict)
        return verdict

    def _limited(self, home: Path, url: str | None, most: int | None) -> forks.Ended:
        words = with_endpoint(self.killed.command, self.killed.command.words(home), url)

        def work() -> None:
            if most is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            shop.foretaste(home, *words)

        return forks.run(work, home.parent.parent.parent / "said.txt")


class ReadOnly:
    """A command whose home may not be written."""

    fault = "read-only home"
    most: int | None = 1

    def __init__(self, killed: Killed) -> None:
        self.killed, self.name = killed, killed.name

    def prepare(self, folder: Path) -> None:
        """The undisturbed run."""
        self.killed.prepare(folder)

    def trial(self, number: int, folder: Path) -> Verdict:
        """Run as somebody who may only read; then as before."""
        verdict, home = Verdict(), copied(self.killed.template, folder / "one")
        with ExitStack() as stack:
            url = stack.enter_context(endpoint(folder)) if self.killed.command.endpoint else None
            words = with_endpoint(self.killed.command, self.killed.command.words(home), url)
            said = folder / "said.txt"
            said.touch()
            with _read_only(home.parent):
                ended = forks.run(lambda: _as_reader(home, words), said)
            if ended.code == 0:
                verdict.faults.append(f"it said that it succeeded: {ended.said[-300:]}")
            told_kindly(ended, verdict)
            self.killed.go_on(home, url, verdict)
        return verdict


def told_kindly(ended: forks.Ended, verdict: Verdict) -> None:
    """A failed command ends with a sentence of ours and exit code 1 or 2."""
    if ended.code == 0 and not ended.fault:
        return
    if ended.fault or ended.code not in (1, 2) or "foretaste: " not in ended.said:
        why = ended.fault or f"exit code {ended.code} without a sentence"
        verdict.faults.append(f"{why}: {ended.said[-900:]}")


def _as_reader(home: Path, words: list[str]) -> None:
    """The command in a process that what a folder's mode says holds for, even when it is root's."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0)
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable of two words of bits
    if libc.capget(header, held) == 0 and os.getuid() == 0:
        held[0] &= ~_PAST_MODES
        held[1] &= ~_PAST_MODES
        if libc.capset(header, held):
            raise OSError(ctypes.get_errno(), "capset")
    shop.foretaste(home, *words)


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    """Nobody but root may write below a folder, for the block."""
    paths = [folder, *(path for path in folder.rglob("*") if not path.is_symlink())]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)


@contextmanager
def _mounted(folder: Path, size: int) -> Iterator[None]:
    """A file system in memory of so many bytes, in whole pages, at a folder."""
    pages = size // 4096 + 1
    size_option = f"size={pages * 4096}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size_option, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


_MOUNTS: list[bool] = []


def _may_mount() -> bool:
    """Whether this process may mount, tried once."""
    if not _MOUNTS:
        place = Path("/tmp") / f"foretaste-mount-{os.getpid()}"  # noqa: S108
        place.mkdir()
        try:
            with _mounted(place, 4096):
                _MOUNTS.append(True)
        except (OSError, subprocess.CalledProcessError):
            _MOUNTS.append(False)
        place.rmdir()
    return _MOUNTS[0]


def _size(folder: Path) -> int:
    """Bytes that the files of a folder take, in whole pages."""
    paths = [path for path in folder.rglob("*") if not path.is_symlink()]
    files = [path.stat().st_size for path in paths if path.is_file()]
    return sum((size + 4095) // 4096 * 4096 for size in files)
