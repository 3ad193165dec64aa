"""What happens while serving, kept in one SQLite file: on disk before its caller is told so.

Several servers share a Postgres database instead (`ledger_postgres.py`); the same SQL runs on both.

All writes go through one thread, which commits everything that waits as one transaction: at a
hundred writes a second one sync of the disk serves many of them. Write-ahead log with
`synchronous=FULL`, so a commit survives the process and the machine.
"""

from __future__ import annotations

import fcntl
import queue
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.files import subfolder
from foretaste.data.postgres import state_address

Rows = Sequence[Sequence[Any]]
_TOGETHER = 512  # writes committed in one transaction at most

#: What is kept of an interaction.
EVENT_COLUMNS = ("user_id", "item_id", "timestamp", "event", "value", "query")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    item_id TEXT PRIMARY KEY, at REAL NOT NULL, catalogue TEXT NOT NULL, item TEXT);
CREATE TABLE IF NOT EXISTS interactions (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, event_id TEXT UNIQUE, user_id TEXT NOT NULL,
    item_id TEXT, timestamp INTEGER NOT NULL, event TEXT NOT NULL, value REAL, query TEXT);
CREATE INDEX IF NOT EXISTS interactions_user ON interactions (user_id);
CREATE TABLE IF NOT EXISTS feedback (
    request_id TEXT NOT NULL, user_id TEXT NOT NULL, item_id TEXT NOT NULL, at REAL NOT NULL,
    thumb INTEGER NOT NULL, reason TEXT, PRIMARY KEY (request_id, user_id, item_id));
CREATE INDEX IF NOT EXISTS feedback_user ON feedback (user_id);
CREATE TABLE IF NOT EXISTS exposures (
    request_id TEXT PRIMARY KEY, at REAL NOT NULL, user_id TEXT NOT NULL, page TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS exposures_user ON exposures (user_id);
CREATE TABLE IF NOT EXISTS forgotten (user_hash TEXT PRIMARY KEY, at REAL NOT NULL);
"""


@dataclass
class Write:
    """Statements that succeed or fail together, and who waits for them."""

    statements: Sequence[tuple[str, Rows]]
    erases: bool = False
    done: Future[int] = field(default_factory=Future)


@dataclass(frozen=True)
class Missed:
    """What other servers changed.

    Attributes:
        items: when, item id, and the item as JSON or None for one that was deleted.
        interactions: rows of `EVENT_COLUMNS`.
        forgotten: one hash of a user a row.
    """

    items: Sequence[tuple[float, str, str | None]] = ()
    interactions: Sequence[tuple[Any, ...]] = ()
    forgotten: Sequence[tuple[str]] = ()


class Changes(ABC):
    """The live changes of one data set, wherever they are kept: one thread commits what waits.

    Attributes:
        shared: whether other servers may change the same.
    """

    shared = False

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
        self._thread.start()

    def write(self, *statements: tuple[str, Rows], erases: bool = False) -> Future[int]:
        """Run statements as one unit; the future gives the rows changed, once they are on disk.

        Args:
            statements: SQL with `?` for values, and the rows of values to run it with.
            erases: leave no copy of deleted rows in the log of the file either.

        Raises:
            ForetasteError: through the future, when the disk would not take it.
        """
        write = Write(statements, erases)
        if self._ended:
            write.done.set_exception(ForetasteError("The server is stopping; nothing was kept."))
        else:
            self._waiting.put(write)
        return write.done

    @abstractmethod
    def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of what was committed before this call."""

    def missed(self) -> Missed:
        """What other servers changed since the last look; nothing where there are no others."""
        return Missed()

    def close(self) -> None:
        """Finish what waits, then let go of what keeps it."""
        if self._ended:
            return
        self._ended = True
        self._waiting.put(None)
        self._thread.join()
        self._let_go()

    def _work(self) -> None:
        """Commit what waits, many writes at a time, until told to end."""
        going = True
        while going:
            batch = [self._waiting.get()]
            while len(batch) < _TOGETHER and not self._waiting.empty():
                batch.append(self._waiting.get())
            going = None not in batch
            # A caller that has left meanwhile takes its write with it.
            self._commit([w for w in batch if w and w.done.set_running_or_notify_cancel()])

    @abstractmethod
    def _commit(self, batch: list[Write]) -> None:
        """One transaction over the batch, then word to everyone who waits."""

    @abstractmethod
    def _let_go(self) -> None:
        """Close what keeps the changes."""


class Ledger(Changes):
    """The live changes of one data set in a file. One process writes; any may read.

    Args:
        path: the SQLite file; made when missing.

    Raises:
        InputError: another process serves this data set already.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = (path.parent / ".serving").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise InputError(
                f"{path.parent.name} is already served by another process of this home; stop that "
                "one, set FORETASTE_HOME to another folder, or FORETASTE_STATE to share a database."
            ) from error
        self._connection = _open(path)
        super().__init__()

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of what was committed before this call."""
        return _rows_of(self.path, sql, values)

    def _let_go(self) -> None:
        self._connection.close()
        self._lock.close()

    def _commit(self, batch: list[Write]) -> None:
        outcomes: list[int | sqlite3.Error] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcomes = [self._one(write) for write in batch]
            self._connection.execute("COMMIT")
            if any(write.erases for write in batch):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            outcomes = [error] * len(batch)
        for write, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, int):
                write.done.set_result(outcome)
            else:
                write.done.set_exception(_not_kept(self.path, outcome))

    def _one(self, write: Write) -> int | sqlite3.Error:
        """Run one unit inside the transaction; when it fails the others still hold."""
        self._connection.execute("SAVEPOINT one")
        try:
            changed = _run(self._connection, write)
        except sqlite3.IntegrityError as error:
            self._connection.execute("ROLLBACK TO one")
            return error
        finally:
            self._connection.execute("RELEASE one")
        return changed


def ledger_path(dataset: str) -> Path:
    """Where the live changes of a data set are kept."""
    return subfolder("live", dataset) / "ledger.sqlite"


def read_ledger(path: Path, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Rows of a ledger, whoever writes it; none when there is no ledger yet.

    Args:
        path: of `ledger_path`; where servers share a database, that is read instead.
        sql: with `?` for values.
        values: of the marks.

    Raises:
        ForetasteError: the file is damaged, or the database does not answer.
    """
    address = state_address()
    if address is None:
        return _rows_of(path, sql, values)
    from foretaste.data.ledger_postgres import read_shared

    return read_shared(address, path.parent.name, sql, values)


def open_ledger(dataset: str) -> Changes:
    """The ledger of a data set, to write to: in the database that servers share, or in the home.

    Raises:
        InputError: without a database, another process serves this data set already.
        ForetasteError: the file is damaged, or the database does not answer.
    """
    address = state_address()
    if address is None:
        return Ledger(ledger_path(dataset))
    from foretaste.data.ledger_postgres import PostgresLedger

    return PostgresLedger(address, dataset)


def _rows_of(path: Path, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            return connection.execute(sql, values).fetchall()
    except sqlite3.DatabaseError as error:
        raise ForetasteError(
            f"{path} cannot be read ({error}); put a copy from your backups in its place."
        ) from error


def _open(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")
        connection.executescript(_SCHEMA)
    except sqlite3.Error as error:
        raise ForetasteError(
            f"{path} cannot be opened ({error}); check the disk, or put a copy from your backups "
            "in its place."
        ) from error
    return connection


def _run(connection: sqlite3.Connection, write: Write) -> int:
    run: Callable[..., sqlite3.Cursor]
    changed = 0
    for sql, rows in write.statements:
        run = connection.executemany if rows else connection.execute
        changed += max(run(sql, rows).rowcount, 0)
    return changed


def _not_kept(path: Path, error: sqlite3.Error) -> ForetasteError:
    return ForetasteError(
        f"{path} did not take a change ({error}); free some space there and send it again."
    )
