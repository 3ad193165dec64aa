"""Profiles that are kept, one row a user, and brought up to date when they are asked for."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from foretaste.agents.contexts.profile import VERSION, Catalogue, Tallies, read_on
from foretaste.agents.contexts.profile_text import statements
from foretaste.agents.objects import HistoryEvent, Statement
from foretaste.data.dataset import Dataset
from foretaste.data.errors import ForetasteError
from foretaste.data.files import safe_name, subfolder
from foretaste.data.postgres import Database, schema_of, state_address

_SCHEMA = """
CREATE TABLE IF NOT EXISTS profiles (
    user_id TEXT PRIMARY KEY, at REAL NOT NULL, tallies TEXT NOT NULL)
"""

_SHARED_SCHEMA = _SCHEMA.replace("REAL", "DOUBLE PRECISION")
_SHARED_PUT = (
    "INSERT INTO profiles VALUES (?, ?, ?) ON CONFLICT (user_id) "
    "DO UPDATE SET at = excluded.at, tallies = excluded.tallies"
)


class ProfileStore(Protocol):
    """Where the tallies of users are kept. Any database that keeps a text by a key will do."""

    def get(self, user_id: str) -> str | None:
        """What was kept of a user, or None."""
        ...

    def put(self, user_id: str, tallies: str) -> None:
        """Keep this instead; on return it is written."""
        ...

    def forget(self, user_id: str) -> bool:
        """Delete what was kept of a user, and say whether there was anything."""
        ...

    def close(self) -> None:
        """Let go of the file or the connection."""
        ...


class SqliteProfiles:
    """A `ProfileStore` in one SQLite file: write-ahead log, deleted rows are overwritten.

    Args:
        path: the file; made when missing.

    Raises:
        ForetasteError: here and in every method, when the file is damaged or not writable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._guard = threading.Lock()
        with self._told():
            self._connection = sqlite3.connect(
                path, timeout=30, check_same_thread=False, isolation_level=None
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute("PRAGMA secure_delete=ON")
            self._connection.execute(_SCHEMA)

    def get(self, user_id: str) -> str | None:
        """What was kept of a user, or None."""
        with self._told():
            row = self._connection.execute(
                "SELECT tallies FROM profiles WHERE user_id = ?", [user_id]
            ).fetchone()
        return None if row is None else str(row[0])

    def put(self, user_id: str, tallies: str) -> None:
        """Keep this instead; on return it is written."""
        with self._told():
            self._connection.execute(
                "INSERT OR REPLACE INTO profiles VALUES (?, ?, ?)", [user_id, time.time(), tallies]
            )

    def forget(self, user_id: str) -> bool:
        """Delete what was kept of a user from the file and its log."""
        with self._told():
            deleted = self._connection.execute(
                "DELETE FROM profiles WHERE user_id = ?", [user_id]
            ).rowcount
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return deleted > 0

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """One caller at a time; a fault of the file as one sentence."""
        with self._guard:
            try:
                yield
            except sqlite3.Error as error:
                raise ForetasteError(
                    f"{self.path} cannot be used ({error}); profiles are made from the history, so "
                    "delete the file and run the command again."
                ) from error


class PostgresProfiles:
    """A `ProfileStore` in the database that servers share.

    Args:
        address: of the database.
        dataset: whose users these are.

    Raises:
        ForetasteError: here and in every method, when the database does not answer.
    """

    def __init__(self, address: str, dataset: str) -> None:
        self._database = Database(address, schema_of(dataset), _SHARED_SCHEMA, "profiles")

    def get(self, user_id: str) -> str | None:
        """What was kept of a user, or None."""
        rows = self._database.read("SELECT tallies FROM profiles WHERE user_id = ?", [user_id])
        return str(rows[0][0]) if rows else None

    def put(self, user_id: str, tallies: str) -> None:
        """Keep this instead; on return it is written."""
        self._database.write((_SHARED_PUT, [[user_id, time.time(), tallies]]))

    def forget(self, user_id: str) -> bool:
        """Delete what was kept of a user."""
        return self._database.write(("DELETE FROM profiles WHERE user_id = ?", [[user_id]])) > 0

    def close(self) -> None:
        """Let go of the connection."""
        self._database.close()


class Profiles:
    """Profiles of one data set, kept up to date.

    Args:
        store: where tallies are kept between calls; None keeps nothing.
    """

    def __init__(self, store: ProfileStore | None = None) -> None:
        self.store = store
        self._catalogue: Catalogue | None = None

    def of(
        self, dataset: Dataset, user_id: str | None, events: Sequence[HistoryEvent]
    ) -> tuple[Statement, ...]:
        """What these events say about a user; of kept users only new events are read.

        Args:
            dataset: the catalogue that the events are about.
            user_id: under whom tallies are kept; None keeps nothing.
            events: all events that may be known of the user, oldest first.
        """
        kept = self.kept(dataset, user_id) if user_id is not None else Tallies()
        made = read_on(kept, events, self._looked_up_in(dataset))
        if self.store is not None and user_id is not None and made is not kept:
            self.store.put(user_id, made.model_dump_json())
        return self.said(dataset, made)

    def kept(self, dataset: Dataset, user_id: str) -> Tallies:
        """What is kept of a user; empty for none, or when the catalogue is not the same any more."""
        made = _parsed(None if self.store is None else self.store.get(user_id))
        fits = made.catalogue == dataset.info.catalogue_fingerprint
        return made if fits else Tallies()

    def said(self, dataset: Dataset, tallies: Tallies) -> tuple[Statement, ...]:
        """What tallies say."""
        return statements(tallies, self._looked_up_in(dataset))

    def forget(self, user_id: str) -> bool:
        """Delete what was kept of a user, and say whether there was anything."""
        return self.store is not None and self.store.forget(user_id)

    def _looked_up_in(self, dataset: Dataset) -> Catalogue:
        """The measured catalogue, its items as they are now."""
        last = self._catalogue
        if last is None or last.fingerprint != dataset.info.catalogue_fingerprint:
            last = Catalogue.over(dataset)
        self._catalogue = last if last.dataset is dataset else replace(last, dataset=dataset)
        return self._catalogue


def profile_path(dataset: str) -> Path:
    """Where the profiles of a data set are kept."""
    return subfolder("profiles") / f"{safe_name(dataset)}.sqlite"


def stored_profiles(dataset: str) -> Profiles:
    """The profiles of a data set: in the database that servers share, or in the home.

    Raises:
        ForetasteError: their file is damaged, or the database does not answer.
    """
    address = state_address()
    if address is not None:
        return Profiles(PostgresProfiles(address, dataset))
    return Profiles(SqliteProfiles(profile_path(dataset)))


def _parsed(kept: str | None) -> Tallies:
    """What was kept; nothing when it is of another version, for it can be made anew."""
    if kept is None:
        return Tallies()
    try:
        made = Tallies.model_validate_json(kept)
    except ValidationError:
        return Tallies()
    return made if made.version == VERSION else Tallies()
