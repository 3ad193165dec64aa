"""Whom a batch is for, and which partition each user belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError
from foretaste.data.progress import note

LEAST, MOST = 8, 10_000  # partitions, when nobody says how many
_USERS_EACH = 500  # then


def people_of(dataset: Dataset, file: Path | None) -> list[str]:
    """Each user once, in the order of their ids.

    Args:
        dataset: whose users with at least one choice are meant when there is no file.
        file: user ids, one a line; empty lines are passed over.

    Raises:
        InputError: the file cannot be read, or there is nobody.
    """
    said = dataset.user_ids if file is None else _lines(file)
    users = sorted(set(said))
    if not users:
        raise InputError("Nobody to recommend to: user ids, one a line, were expected in --users.")
    if len(users) < len(said):
        note(f"{len(said) - len(users):,} user ids come more than once; each is taken once.")
    return users


def partition_of(user_id: str, partitions: int) -> int:
    """The partition of a user, in [0, partitions): a hash, the same on every machine.

    >>> [partition_of(user, 4) for user in ("ann", "bob", "cat")]
    [1, 2, 3]
    """
    digest = hashlib.blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % partitions


def parted(users: Sequence[str], partitions: int) -> dict[int, list[str]]:
    """Partition → its users in their order; partitions without users are left out."""
    parts: dict[int, list[str]] = {}
    for user in users:
        parts.setdefault(partition_of(user, partitions), []).append(user)
    return dict(sorted(parts.items()))


def usual_partitions(users: int) -> int:
    """Partitions for so many users.

    >>> usual_partitions(900), usual_partitions(1_000_000)
    (8, 2000)
    """
    return min(MOST, max(LEAST, -(-users // _USERS_EACH)))


def _lines(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file} cannot be read ({error}); a text file with one user id a line was expected."
        ) from error
    return [line.strip() for line in lines if line.strip()]
