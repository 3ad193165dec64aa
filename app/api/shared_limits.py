"""The rate of a key over all servers that share a database; what is under way is counted by each."""

from __future__ import annotations

from foretaste.data.postgres import Database, state_address

_SCHEMA = """
CREATE TABLE IF NOT EXISTS buckets (
    name TEXT PRIMARY KEY, tokens DOUBLE PRECISION NOT NULL, since TIMESTAMPTZ NOT NULL,
    granted BOOLEAN NOT NULL)
"""
_FILLED = "LEAST(?, b.tokens + ? * GREATEST(0, EXTRACT(EPOCH FROM now() - b.since)))"
_TAKE = f"""
INSERT INTO buckets AS b (name, tokens, since, granted) VALUES (?, ?, now(), TRUE)
ON CONFLICT (name) DO UPDATE SET
    granted = {_FILLED} >= 1,
    tokens = {_FILLED} - CASE WHEN {_FILLED} >= 1 THEN 1 ELSE 0 END,
    since = GREATEST(now(), b.since)
RETURNING granted, tokens
"""  # noqa: S608


class SharedLimits:
    """Token buckets in Postgres: the same rule as `Limits`, for all servers together.

    Args:
        address: of the database.

    Raises:
        ForetasteError: here and in every method, when the database does not answer.
    """

    def __init__(self, address: str) -> None:
        self._database = Database(address, "foretaste_limits", _SCHEMA, "buckets")

    def wait_s(self, name: str, rate: float, burst: int) -> float:
        """Take a token of key `name`; 0 when there was one, else the seconds until there is.

        Args:
            name: of the key.
            rate: requests a second in the long run.
            burst: requests at once after a pause.
        """
        size = float(burst)
        values = [name, size - 1, *[size, rate] * 3]
        granted, tokens = self._database.read(_TAKE, values)[0]
        return 0.0 if granted else (1 - tokens) / rate

    def close(self) -> None:
        """Let go of the connection."""
        self._database.close()


def shared_limits() -> SharedLimits | None:
    """The limits of the database that servers share; None where there is one server."""
    address = state_address()
    return None if address is None else SharedLimits(address)
