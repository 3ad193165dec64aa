"""Where things live, and how they are written: beside, synced, then renamed.

Everything that is fetched or made (data sets, models, caches, runs) lives under one home:
`FORETASTE_HOME`, or the platform's user data folder. Nothing half-written is ever read.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs

from foretaste.data.errors import ForetasteError, InputError

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_PART = ".part"
SUMS = "sha256.json"  # in a folder that was written whole
_NUMBER = re.compile(
    r"\(os error (\d+)\)"
)  # how libraries written in Rust name a fault of the system
_PART_NAME = re.compile(r"\..+\.[a-z0-9_]{8}\.part")  # as `tempfile` makes them
_SWEPT: set[Path] = set()


def home() -> Path:
    """The folder that holds data sets, models, caches and runs; made when missing."""
    chosen = os.environ.get("FORETASTE_HOME")
    path = Path(chosen).expanduser() if chosen else Path(platformdirs.user_data_dir("foretaste"))
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The home folder {path} cannot be made ({error.strerror}); "
            "set FORETASTE_HOME to a folder you can write to."
        ) from error
    return path


def subfolder(*names: str) -> Path:
    """A folder below `home()`, made when missing; each name is checked by `safe_name`."""
    path = home().joinpath(*(safe_name(name) for name in names))
    path.mkdir(parents=True, exist_ok=True)
    return path


def safe_name(name: str) -> str:
    """`name` itself when it can be one folder or file name; otherwise `InputError`.

    Letters, digits, `-`, `_` and `.` only, not starting with a dot: no path can escape.
    """
    if not name or len(name) > 120 or name.startswith(".") or not set(name) <= _SAFE:
        raise InputError(
            f"A name of letters, digits, '-', '_' and '.' was expected, not {name!r}; "
            "choose a plain name."
        )
    return name


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, rename it onto `path`.

    What a killed process left half-written beside it is removed.
    """
    with _part_of(path, _new_file) as part:
        try:
            yield part
            _sync(part)
            part.chmod(0o644)
            part.replace(path)
            _sync(path.parent)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; when the block ends well, rename it to `path`.

    When `path` exists by then (another process was faster) that one is kept. What a killed process
    left half-written beside it is removed.
    """
    with _part_of(path, _make_folder) as part:
        try:
            yield part
            for file in part.rglob("*"):
                if file.is_file():
                    _sync(file)
            part.chmod(0o755)
            if not path.exists():
                part.rename(path)
                _sync(path.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, beside and renamed."""
    with replacing(path) as part:
        part.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The JSON value in `path`; a file that cannot be read as JSON is one clear sentence."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ForetasteError(
            f"{path} should hold JSON but does not ({error}); delete it and run the command again."
        ) from error


def sha256(path: Path) -> str:
    """The 64 hex digits of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(folder: Path) -> None:
    """Put the sha256 of every file of a finished folder beside them, into `sha256.json`."""
    write_json(folder / SUMS, {path.name: sha256(path) for path in sorted(folder.iterdir())})


def check_sums(folder: Path) -> None:
    """Hold the files of a folder to what `write_sums` kept; a folder without that file passes.

    Raises:
        OSError: a file is not there, or not as it was written.
    """
    if not (folder / SUMS).exists():
        return
    for name, wanted in read_json(folder / SUMS).items():
        if sha256(folder / safe_name(name)) != wanted:
            raise OSError(f"{name} is not as it was written")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on `folder`, so that two commands on one home take turns."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _part_of(path: Path, make: Callable[[Path], str]) -> Iterator[Path]:
    """A new name beside `path` for the block, locked meanwhile: a sweeper sees that it is in use."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    while True:
        part = Path(make(path))
        handle = os.open(part, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not _same(part, handle):  # a sweeper was between its making and its lock
                continue
            with _as_os_error(path):
                yield part
            return
        finally:
            os.close(handle)


@contextmanager
def _as_os_error(path: Path) -> Iterator[None]:
    """A full disk is an `OSError`, whichever library met it while it wrote to `path`."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if found := _NUMBER.search(str(error)):
            number = int(found[1])
            raise OSError(number, os.strerror(number), str(path)) from error
        raise


def _new_file(path: Path) -> str:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_PART, dir=path.parent)
    os.close(handle)
    return name


def _make_folder(path: Path) -> str:
    return tempfile.mkdtemp(prefix=f".{path.name}.", suffix=_PART, dir=path.parent)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder: parts that nobody holds.

    Once a process and folder: what is left later is removed by the next process.
    """
    if folder in _SWEPT:
        return
    _SWEPT.add(folder)
    for part in [one for one in folder.glob(f".*{_PART}") if _PART_NAME.fullmatch(one.name)]:
        with suppress(OSError):  # somebody holds it, or was faster
            handle = os.open(part, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(part) if part.is_dir() else part.unlink()
            finally:
                os.close(handle)


def _same(path: Path, handle: int) -> bool:
    """Whether `path` is still what `handle` was opened on."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _sync(path: Path) -> None:
    """Ask the file system to keep what was written to a file or a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
