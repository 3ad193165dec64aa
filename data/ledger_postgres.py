"""What happens while serving, in a Postgres database that several servers share.

The tables are those of `ledger.py`. Beside each row stand the number of its last change and the server
that made it, so that every server can follow what the others did. Commits about one data set take
turns: the numbers rise in the order in which changes can be seen.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from foretaste.data.errors import ForetasteError
from foretaste.data.ledger import EVENT_COLUMNS, Changes, Missed, Write
from foretaste.data.postgres import Database, Run, schema_of

_FOLLOWED = ("items", "interactions", "forgotten")
_TABLES = """
CREATE SEQUENCE IF NOT EXISTS change;
CREATE TABLE IF NOT EXISTS items (
    item_id TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL, catalogue TEXT NOT NULL, item TEXT,
    change BIGINT, origin TEXT);
CREATE TABLE IF NOT EXISTS interactions (
    seq BIGSERIAL PRIMARY KEY, at DOUBLE PRECISION NOT NULL, event_id TEXT UNIQUE,
    user_id TEXT NOT NULL, item_id TEXT, timestamp BIGINT NOT NULL, event TEXT NOT NULL,
    value DOUBLE PRECISION, query TEXT, change BIGINT, origin TEXT);
CREATE INDEX IF NOT EXISTS interactions_user ON interactions (user_id);
CREATE TABLE IF NOT EXISTS feedback (
    request_id TEXT NOT NULL, user_id TEXT NOT NULL, item_id TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL, thumb INTEGER NOT NULL, reason TEXT,
    PRIMARY KEY (request_id, user_id, item_id));
CREATE INDEX IF NOT EXISTS feedback_user ON feedback (user_id);
CREATE TABLE IF NOT EXISTS exposures (
    request_id TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL, user_id TEXT NOT NULL,
    page TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS exposures_user ON exposures (user_id);
CREATE TABLE IF NOT EXISTS forgotten (
    user_hash TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL, change BIGINT, origin TEXT);
CREATE OR REPLACE FUNCTION changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.change := nextval('change');
    NEW.origin := current_setting('application_name');
    RETURN NEW;
END $$;
""" + "".join(
    f"CREATE OR REPLACE TRIGGER changed BEFORE INSERT OR UPDATE ON {table} "
    "FOR EACH ROW EXECUTE FUNCTION changed();\n"
    f"CREATE INDEX IF NOT EXISTS {table}_change ON {table} (change);\n"
    for table in _FOLLOWED
)
_EACH = " UNION ALL ".join(f"SELECT max(change) AS c FROM {table}" for table in _FOLLOWED)  # noqa: S608
_NEWEST = f"SELECT coalesce(max(c), 0) FROM ({_EACH}) AS newest"  # noqa: S608
_MISSED = (
    "SELECT at, item_id, item FROM items",
    f"SELECT {', '.join(EVENT_COLUMNS)} FROM interactions",  # noqa: S608
    "SELECT user_hash FROM forgotten",
)
_TURN = "SELECT pg_advisory_xact_lock(hashtext(current_schema()))"


class PostgresLedger(Changes):
    """The live changes of one data set in a database. Many processes may write.

    Args:
        address: of the database.
        dataset: its name.

    Raises:
        InputError: the library is missing.
        ForetasteError: the database does not answer.
    """

    shared = True

    def __init__(self, address: str, dataset: str) -> None:
        self.origin = f"foretaste-{uuid.uuid4().hex[:16]}"
        schema = schema_of(dataset)
        self._writing = Database(address, schema, _TABLES, _FOLLOWED[-1], self.origin)
        self._reading = Database(address, schema, _TABLES, _FOLLOWED[-1], self.origin)
        self._seen = self._newest()
        super().__init__()

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of what was committed before this call, by any server."""
        return self._reading.read(sql, values)

    def missed(self) -> Missed:
        """What other servers changed since this was opened or last asked."""
        newest = self._newest()
        if newest == self._seen:
            return Missed()
        after = "WHERE change > ? AND change <= ? AND origin <> ? ORDER BY change"
        values = [self._seen, newest, self.origin]
        found = [self._reading.read(f"{what} {after}", values) for what in _MISSED]
        self._seen = newest
        return Missed(*found)

    def _newest(self) -> int:
        """The number of the newest change that can be seen: all before it can be seen too."""
        return int(self._reading.read(_NEWEST)[0][0])

    def _let_go(self) -> None:
        self._writing.close()
        self._reading.close()

    def _commit(self, batch: list[Write]) -> None:
        """One transaction over the batch, then word to everyone who waits."""
        outcomes: list[int | ForetasteError] = []
        try:
            with self._writing.transaction() as run:
                run(_TURN)
                outcomes = [_one(run, write) for write in batch]
        except ForetasteError as error:
            outcomes = [error] * len(batch)
        for write, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, int):
                write.done.set_result(outcome)
            else:
                write.done.set_exception(outcome)


def read_shared(
    address: str, dataset: str, sql: str, values: Sequence[Any] = ()
) -> list[tuple[Any, ...]]:
    """Rows of the ledger of a data set; see `ledger.read_ledger`."""
    with closing(Database(address, schema_of(dataset), _TABLES, _FOLLOWED[-1])) as database:
        return database.read(sql, values)


def _one(run: Run, write: Write) -> int | ForetasteError:
    """Run one unit inside the transaction; when a value does not fit, the others still hold."""
    from psycopg import DataError, IntegrityError

    try:
        with run.savepoint():
            return sum(run(sql, rows) for sql, rows in write.statements)
    except (DataError, IntegrityError) as error:
        first = str(error).strip().splitlines()[0]
        return ForetasteError(f"The database did not take a change ({first}).")
