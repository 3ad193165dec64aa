"""A file of changes that only grows: each is on disk before it counts, and none is half-read.

A record is its length and its CRC-32 (4 bytes each, little-endian), then the content. Reading stops
at the first record that is not whole: that one was being written when the process died, and its
caller was never told that it succeeded.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from foretaste.data.errors import ForetasteError
from foretaste.data.files import locked, replacing

_HEAD = struct.Struct("<II")


class Journal:
    """Records of bytes in `path`, appended by one process at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._end = 0  # bytes up to the end of the last whole record that was seen

    def append(self, content: bytes) -> None:
        """Add one record; it is on disk when this returns.

        Raises:
            ForetasteError: the disk would not take it, and nothing was added.
        """
        record = _record(content)
        try:
            with locked(self._path.parent), self._path.open("ab+") as file:
                if file.seek(0, os.SEEK_END) != self._end:  # a torn end, or another process's
                    self._end = max((end for end, _ in self._records()), default=0)
                    file.truncate(self._end)
                file.write(record)
                file.flush()
                os.fsync(file.fileno())
                self._end += len(record)
        except OSError as error:
            raise ForetasteError(
                f"The change could not be kept in {self._path} ({error.strerror}); "
                "free some space there and send it again."
            ) from error

    def rewrite(self, shorten: Callable[[Iterator[bytes]], Iterable[bytes]]) -> None:
        """Put in place of all records what `shorten` makes of them, in one step.

        Raises:
            ForetasteError: the disk would not take it; the journal is as it was.
        """
        try:
            with locked(self._path.parent):
                contents = shorten(iter(self))  # under the lock: no other process appends meanwhile
                with replacing(self._path) as part:
                    part.write_bytes(b"".join(_record(content) for content in contents))
        except OSError as error:
            raise ForetasteError(
                f"The journal of changes {self._path} could not be shortened ({error.strerror}); "
                "free some space there and open the index again."
            ) from error

    def __iter__(self) -> Iterator[bytes]:
        """Every whole record, oldest first."""
        for _, content in self._records():
            yield content

    def _records(self) -> Iterator[tuple[int, bytes]]:
        """(place where it ends, content) of each whole record."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            while head := file.read(_HEAD.size):
                if len(head) < _HEAD.size:
                    return
                length, checksum = _HEAD.unpack(head)
                content = file.read(length)
                if len(content) < length or zlib.crc32(content) != checksum:
                    return
                yield file.tell(), content


def _record(content: bytes) -> bytes:
    """Content with its length and checksum before it."""
    return _HEAD.pack(len(content), zlib.crc32(content)) + content
