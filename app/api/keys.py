"""API keys: shown once, kept as hashes.

A key is `ft_<id>_<secret>` with 256 random bits of secret. At that length one round of SHA-256 is
as hard to turn back as a slow hash would be, and checking costs microseconds.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.files import home, locked, read_json, safe_name, write_json

_NOBODY = hashlib.sha256(b"nobody").hexdigest()


class ApiKey(BaseModel, frozen=True):
    """One key as it is kept.

    Attributes:
        name: whose it is; shown in the log.
        id: the middle part of the key.
        sha256: of the whole key.
        created: seconds since 1970.
        rate, concurrency: limits of this key, or None for the server's.
    """

    name: str
    id: str
    sha256: str
    created: float
    rate: float | None = None
    concurrency: int | None = None


_ALL = TypeAdapter(list[ApiKey])


class KeyRing:
    """The keys of a home; changes on disk are noticed while serving."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or keys_path()
        self._stamp: tuple[int, int] | None = None
        self._keys: dict[str, ApiKey] = {}
        self._refresh()

    def __len__(self) -> int:
        self._refresh()
        return len(self._keys)

    def find(self, presented: str) -> ApiKey | None:
        """The key that was presented, or None. Takes as long for a wrong secret as for a right one."""
        self._refresh()
        parts = presented.split("_", 2)
        known = self._keys.get(parts[1]) if len(parts) == 3 else None
        digest = hashlib.sha256(presented.encode("utf-8", "replace")).hexdigest()
        same = hmac.compare_digest(digest, known.sha256 if known else _NOBODY)
        return known if same else None

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._stamp, self._keys = None, {}
            return
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            self._stamp, self._keys = stamp, {key.id: key for key in read_keys(self._path)}


def keys_path() -> Path:
    """Where the keys of this home are kept."""
    return home() / "keys.json"


def read_keys(path: Path | None = None) -> list[ApiKey]:
    """All keys, oldest first.

    Raises:
        ForetasteError: the file is damaged.
    """
    place = path or keys_path()
    if not place.exists():
        return []
    try:
        return _ALL.validate_python(read_json(place))
    except ValidationError as error:
        raise ForetasteError(
            f"{place} does not hold API keys; delete it and add the keys again."
        ) from error


def add_key(name: str, rate: float | None = None, concurrency: int | None = None) -> str:
    """Make a key for `name` and give it: it cannot be shown again.

    Raises:
        InputError: there is one of this name.
    """
    safe_name(name)
    with locked(home()):
        keys = read_keys()
        if any(key.name == name for key in keys):
            raise InputError(f"There is a key {name!r} already; remove it or choose another name.")
        mark = secrets.token_hex(4)
        key = f"ft_{mark}_{secrets.token_urlsafe(32)}"
        digest = hashlib.sha256(key.encode()).hexdigest()
        made = ApiKey(
            name=name,
            id=mark,
            sha256=digest,
            created=time.time(),
            rate=rate,
            concurrency=concurrency,
        )
        _write([*keys, made])
    return key


def remove_key(name: str) -> None:
    """Take a key away; a running server refuses it from the next request on.

    Raises:
        InputError: there is none of this name.
    """
    with locked(home()):
        keys = read_keys()
        if all(key.name != name for key in keys):
            known = ", ".join(key.name for key in keys) or "none"
            raise InputError(f"There is no key {name!r} (there are: {known}).")
        _write([key for key in keys if key.name != name])


def _write(keys: list[ApiKey]) -> None:
    write_json(keys_path(), [key.model_dump() for key in keys])
    keys_path().chmod(0o600)
