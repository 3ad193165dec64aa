"""Vectors of texts on disk, kept by text and by the weights that made them.

A cache is a folder of two append-only files, so that nothing in it can be half-written in a way
that is believed: `vectors.f32` holds the numbers, `keys.u64` one line of 24 bytes a vector (128-bit
hash of the text, checksum of hash and numbers). A vector counts from the moment its key line is
whole; whatever does not match its checksum is simply not in the cache and is computed again.
Several processes may read and append at once: appending takes the folder's lock.
"""

from __future__ import annotations

import hashlib
import os
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretaste.data.errors import ForetasteError
from foretaste.data.files import locked

_KEY_WORDS = 3  # two words of hash, one of checksum, 8 bytes each
_KEY_BYTES = 8 * _KEY_WORDS


class VectorCache:
    """Unit vectors of one embedder, found by text.

    Args:
        folder: made when missing; one folder an embedder fingerprint.
        dimension: numbers in a vector.

    One million texts of 384 dimensions take 1.6 GB on disk and about 150 MB of memory for the keys;
    the vectors themselves stay on disk, mapped.
    """

    def __init__(self, folder: Path, dimension: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._keys_path, self._vectors_path = folder / "keys.u64", folder / "vectors.f32"
        self._folder, self._dimension = folder, dimension
        self._lines: NDArray[np.uint64] = np.zeros((0, _KEY_WORDS), dtype=np.uint64)
        self._place: dict[int, int] = {}  # first word of the hash → newest line
        self._mapped: NDArray[np.float32] = np.zeros((0, dimension), dtype=np.float32)
        self._guard = threading.Lock()

    def __len__(self) -> int:
        """Vectors known so far (repeats of a text count once)."""
        return len(self._place)

    def get(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The vectors of `texts`, (n, d) float32, and which were found, (n,); others are zero."""
        hashes = np.array([_hash(text) for text in texts], dtype=np.uint64).reshape(-1, 2)
        out = np.zeros((len(texts), self._dimension), dtype=np.float32)
        found = np.zeros(len(texts), dtype=bool)
        with self._guard:
            self._refresh()
            places = [self._place.get(first, -1) for first in hashes[:, 0].tolist()]
            known = np.flatnonzero(
                np.asarray(places, dtype=np.int64) >= 0
            )  # (known,) rows of texts
            at = np.asarray(places, dtype=np.int64)[known]
            lines, out[known] = self._lines[at], self._mapped[at]
        found[known] = (lines[:, 1] == hashes[known, 1]) & (
            lines[:, 2] == _checksums(hashes[known], out[known])
        )
        out[~found] = 0
        return out, found

    def put(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Keep `vectors` (n, d) of `texts`; durable when this returns.

        Raises:
            ForetasteError: the disk would not take them.
        """
        block = np.ascontiguousarray(vectors, dtype="<f4")
        hashes = np.array([_hash(text) for text in texts], dtype="<u8").reshape(-1, 2)
        lines = np.column_stack([hashes, _checksums(hashes, block)])  # (n, 3)
        try:
            with self._guard, locked(self._folder):
                count = _size(self._keys_path) // _KEY_BYTES
                _write_at(self._vectors_path, count * 4 * self._dimension, block.tobytes())
                _write_at(self._keys_path, count * _KEY_BYTES, lines.tobytes())
        except OSError as error:
            raise ForetasteError(
                f"The vector cache {self._folder} could not be written ({error.strerror}); "
                "free some space there, or set FORETASTE_HOME to another disk."
            ) from error

    def _refresh(self) -> None:
        """Take in lines that this or another process has added."""
        known = len(self._lines)
        vectors = _size(self._vectors_path) // (4 * self._dimension)
        count = min(_size(self._keys_path) // _KEY_BYTES, vectors)
        if count == known:
            return
        if count < known:  # somebody emptied the folder under us
            known, self._place = 0, {}
        self._lines = _mapped(self._keys_path, "<u8", (count, _KEY_WORDS))
        self._mapped = _mapped(self._vectors_path, "<f4", (count, self._dimension))
        added = self._lines[known:, 0].tolist()
        self._place.update(zip(added, range(known, count), strict=True))


def _hash(text: str) -> tuple[int, int]:
    """128 bits of the text, as two unsigned words."""
    digest = hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def _checksums(hashes: NDArray[np.uint64], vectors: NDArray[np.float32]) -> NDArray[np.uint64]:
    """(n,) CRC-32 of hash (n, 2) and numbers (n, d), plus one: a line of zeros never matches."""
    heads = np.ascontiguousarray(hashes, dtype="<u8")
    crc = zlib.crc32
    pairs = zip(heads, vectors, strict=True)
    sums = [crc(vector.data, crc(head.data)) + 1 for head, vector in pairs]
    return np.array(sums, dtype=np.uint64)


def _mapped(path: Path, kind: str, shape: tuple[int, int]) -> NDArray[Any]:
    """A file's numbers without reading them; empty when the shape is."""
    if shape[0] == 0:
        return np.zeros(shape, dtype=kind)
    return np.asarray(np.memmap(path, dtype=kind, mode="r", shape=shape))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _write_at(path: Path, offset: int, content: bytes) -> None:
    """Write at `offset`, over the torn end that a killed process may have left, and sync."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        view = memoryview(content)
        while view:
            written = os.pwrite(handle, view, offset)
            view, offset = view[written:], offset + written
        os.fsync(handle)
    finally:
        os.close(handle)
