"""One Postgres database for what changes while serving, where several servers share it.

`FORETASTE_STATE=postgresql://user@host/database` keeps profiles, feedback, live items and interactions,
limits and checkpoints there; unset, each server keeps its own files under the home. A data set has a
schema of its own, so one database serves many.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.files import safe_name

SETTING = "FORETASTE_STATE"
Rows = Sequence[Sequence[Any]]
_LONGEST_NAME = 63  # bytes of an identifier in Postgres
_CONNECT_S = 10


def state_address() -> str | None:
    """The address of the shared database, or None where each server keeps its own files.

    Raises:
        InputError: the setting holds something else.
    """
    address = os.environ.get(SETTING, "")
    if not address:
        return None
    if address.startswith(("postgresql://", "postgres://")):
        return address
    raise InputError(
        f"{SETTING} should hold an address like postgresql://user@host/database, or nothing for "
        "files under the home."
    )


def schema_of(dataset: str) -> str:
    """The schema of a data set.

    >>> schema_of("ml-100k")
    'foretaste_ml-100k'
    """
    name = f"foretaste_{safe_name(dataset)}"
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 17]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"


@contextmanager
def library_for(setting: str) -> Iterator[None]:
    """Turn a missing library of Postgres, imported in the block, into one sentence.

    Args:
        setting: that names the database.

    Raises:
        InputError: it is missing.
    """
    try:
        yield
    except ImportError as error:
        raise InputError(
            f"{setting} names a Postgres database, but its library is missing; "
            "install foretaste[postgres]."
        ) from error


class Database:
    """One connection, made again when it was lost. Many threads may use it, one at a time.

    SQL has `?` for values, as it does for SQLite.

    Args:
        address: of the database.
        schema: that tables stand in; made when missing.
        tables: SQL that makes them, run where the last of them is missing.
        last: its name.
        origin: a name of this process, which triggers can read as `application_name`.

    Raises:
        InputError: the library is missing.
        ForetasteError: here and in every method, when the database does not answer.
    """

    def __init__(
        self, address: str, schema: str, tables: str, last: str, origin: str = "foretaste"
    ) -> None:
        with library_for(SETTING):
            import psycopg
        self._library, self._guard = psycopg, threading.RLock()
        self._address, self._schema, self._origin = address, schema, origin
        self._tables, self._last = tables, last
        with self._told():
            self._connection = self._connected()

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of what was committed before this call."""
        with self._told():
            return list(self._ready().execute(_marked(sql), list(values)).fetchall())

    def write(self, *statements: tuple[str, Rows]) -> int:
        """Run statements as one transaction; gives the rows changed."""
        with self.transaction() as run:
            return sum(run(sql, rows) for sql, rows in statements)

    @contextmanager
    def transaction(self) -> Iterator[Run]:
        """One transaction for the block, which gives what runs SQL inside it."""
        with self._told():
            connection = self._ready()
            with connection.transaction():
                yield Run(connection)

    def close(self) -> None:
        """Let go of the connection."""
        with self._guard:
            self._connection.close()

    def _connected(self) -> Any:
        """A new connection; two processes that make the tables take turns."""
        connection = self._library.connect(
            self._address,
            autocommit=True,
            connect_timeout=_CONNECT_S,
            application_name=self._origin,
        )
        sql = self._library.sql
        name = sql.Identifier(self._schema)
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [self._schema])
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
            connection.execute(sql.SQL("SET search_path TO {}").format(name))
            there = connection.execute("SELECT to_regclass(%s)", [self._last]).fetchone()
            if there[0] is None:
                connection.execute(self._tables)
        connection.execute(sql.SQL("SET search_path TO {}").format(name))
        return connection

    def _ready(self) -> Any:
        """The connection, or a new one when it was lost since it was last used."""
        try:
            self._connection.execute("SELECT 1")
        except self._library.OperationalError:
            self._connection.close()
            self._connection = self._connected()
        return self._connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        """One caller at a time; a fault of the database as one sentence, without its address."""
        with self._guard:
            try:
                yield
            except self._library.Error as error:
                first = str(error).strip().splitlines()[:1]
                raise ForetasteError(
                    f"The Postgres database of {SETTING} did not do its work ({''.join(first)})."
                ) from error


class Run:
    """Runs SQL inside a transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __call__(self, sql: str, rows: Rows = ()) -> int:
        """Run it once for each row of values, or once without any; gives the rows changed."""
        changed = 0
        for values in rows or [()]:
            changed += max(self._connection.execute(_marked(sql), list(values)).rowcount, 0)
        return changed

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """What fails inside the block is undone alone."""
        with self._connection.transaction():
            yield


def _marked(sql: str) -> str:
    """SQL with psycopg's marks for values."""
    return sql.replace("?", "%s")
