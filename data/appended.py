"""A file of JSON lines that long work adds to: one line a name, each on disk before it counts.

A run that was killed goes on where it was: a last line that the crash cut off is removed, and every
name gets exactly one line. One run at a time holds the file. Each line ends with a checksum of itself,
so that one that was altered on the disk is refused and not believed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from foretaste.data.errors import InputError

Kept = TypeVar("Kept")
_SUM = "line_sha256"
_DIGITS = 16  # of the checksum that a line keeps
_SUMMED = re.compile(rb',"%s":"([0-9a-f]{%d})"\}\s*$' % (_SUM.encode(), _DIGITS))


class AlteredError(ValueError):
    """A line is not what was written: its checksum differs."""


def with_sum(text: str) -> str:
    """The text of a JSON object that is not empty, with a checksum of it as its last member.

    >>> with_sum('{"id":"a"}')
    '{"id":"a","line_sha256":"8489a5deb454a360"}'
    """
    return f'{text[:-1]},"{_SUM}":"{_sum_of(text.encode())}"}}'


def read_line(line: bytes) -> Any:
    """The JSON value of a line, without its checksum; a line without one is taken as it is.

    Raises:
        AlteredError: the checksum differs.
        ValueError: it is no JSON.
    """
    value, found = json.loads(line), _SUMMED.search(line)
    if found and isinstance(value, dict):
        if _sum_of(line[: found.start()] + b"}") != found[1].decode():
            raise AlteredError
        del value[_SUM]
    return value


def _sum_of(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:_DIGITS]


class Appended(Generic[Kept]):
    """What the file holds already, and lines added to its end. Made by `appended`.

    Attributes:
        done: name → what is remembered of its line.
    """

    def __init__(
        self, path: Path, handle: int, key: str, keep: Callable[[dict[str, Any]], Kept], plain: bool
    ) -> None:
        self._path, self._handle, self._key, self._keep = path, handle, key, keep
        self._text: Callable[[str], str] = str if plain else with_sum
        self._guard = threading.Lock()
        self.done: dict[str, Kept] = {}
        self._read()

    def add(self, *lines: dict[str, Any]) -> None:
        """Append lines; on disk when this returns."""
        texts = (json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in lines)
        view = memoryview("".join(f"{self._text(text)}\n" for text in texts).encode())
        with self._guard:
            while view:
                view = view[os.write(self._handle, view) :]
            os.fsync(self._handle)
            for line in lines:
                self.done[line[self._key]] = self._keep(line)

    def _read(self) -> None:
        """Take in earlier lines; a last line that was cut off by a crash is removed."""
        end = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    held = read_line(line)
                    name, kept = str(held[self._key]), self._keep(held)
                    whole = line.endswith(b"\n")
                except AlteredError as error:
                    raise altered(self._path, number) from error
                except (ValueError, KeyError, TypeError) as error:
                    if file.read(1):
                        raise InputError(
                            f"{self._path}, line {number}, holds something else than results of "
                            "this command; name another output file."
                        ) from error
                    whole = False
                if not whole:
                    break
                if name in self.done:
                    raise InputError(
                        f"{self._path}, line {number}, repeats {self._key} {name!r}; "
                        "name another output file."
                    )
                self.done[name], end = kept, end + len(line)
        os.ftruncate(self._handle, end)


def altered(path: Path, number: int) -> InputError:
    """What to say of a line that is not what was written."""
    return InputError(
        f"{path}, line {number}, was altered after it was written (its checksum differs); delete "
        "that line, and the command that wrote it makes it again."
    )


@contextmanager
def appended(
    path: Path, key: str, keep: Callable[[dict[str, Any]], Kept], plain: bool = False
) -> Iterator[Appended[Kept]]:
    """The output file for the block, made when missing and held against other runs.

    Args:
        path: of the file.
        key: the field of a line that names it.
        keep: what to remember of a line; `KeyError` or `TypeError` says that it is none of ours.
        plain: whether lines have no checksum, for files whose form others decide.

    Raises:
        InputError: another run writes it, or it holds something else.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); name another.") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Appended(path, handle, key, keep, plain)
    except BlockingIOError as error:
        raise InputError(f"Another run writes {path}; wait for it, or name another.") from error
    finally:
        os.close(handle)
