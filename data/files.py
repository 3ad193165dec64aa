"""Where things live, and how they are written: beside, synced, then renamed.

Everything that is fetched or made (data sets, models, caches, runs) lives under one home:
`FORETASTE_HOME`, or the platform's user data folder. Nothing half-written is ever read.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs

from foretaste.data.errors import ForetasteError, InputError

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


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
    """Give a temporary path beside `path`; when the block ends well, rename it onto `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
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

    When `path` exists by then (another process was faster) that one is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
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


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on `folder`, so that two commands on one home take turns."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _sync(path: Path) -> None:
    """Ask the file system to keep what was written to a file or a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
