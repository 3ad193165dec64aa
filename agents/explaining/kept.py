"""What is kept of explanations: the memory against repetition, and a cache per (interest, item).

Both hold sentences of catalogue facts alone. A cache key is a hash of the facts that a sentence may
name and of everything that shapes it (prompts, model, language, audience); it holds no user.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from foretaste.agents.explaining.memory import Memory
from foretaste.agents.objects import Source
from foretaste.data.files import safe_name, subfolder
from foretaste.data.progress import note

BOUND = 100_000  # sentences kept; at 400 bytes each about 40 MB
_CHECK_EVERY = 64  # writes between two looks at the bound
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sentences (
    key TEXT PRIMARY KEY, at REAL NOT NULL, text TEXT NOT NULL, source TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS sentences_at ON sentences (at);
CREATE TABLE IF NOT EXISTS memory (place INTEGER PRIMARY KEY, text TEXT NOT NULL);
"""


class Sentence(NamedTuple):
    """An explanation, or a style guideline, and who wrote it."""

    text: str
    source: Source


def cache_key(*parts: object) -> str:
    """One hash over everything that decides a sentence."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


class SentenceCache:
    """Sentences by key in SQLite; opened at its first use, and never a reason to fail.

    A file that is damaged, locked for long or on a full disk is as good as empty: what is not
    found is made again.

    Args:
        path: the file, or None to keep them in memory.
        bound: sentences kept at most; the oldest go first.
    """

    def __init__(self, path: Path | None = None, bound: int = BOUND) -> None:
        self.path, self.bound = path, bound
        self._connection: sqlite3.Connection | None = None
        self._guard = threading.Lock()
        self._writes = 0

    def get(self, keys: Sequence[str]) -> dict[str, Sentence]:
        """Those of the keys that are known."""
        marks = ", ".join("?" * len(keys))
        rows = self._run(f"SELECT key, text, source FROM sentences WHERE key IN ({marks})", keys)  # noqa: S608
        return {
            key: Sentence(text, "model" if source == "model" else "fallback")
            for key, text, source in rows
        }

    def put(self, sentences: Mapping[str, Sentence]) -> None:
        """Keep these."""
        now = time.time()
        rows = [(key, now, one.text, one.source) for key, one in sentences.items()]
        self._write("INSERT OR REPLACE INTO sentences VALUES (?, ?, ?, ?)", rows)
        self._writes += 1
        if self._writes % _CHECK_EVERY == 0:
            self.trim()

    def trim(self) -> None:
        """Drop the oldest beyond the bound."""
        old = "SELECT key FROM sentences ORDER BY at DESC, key LIMIT -1 OFFSET ?"
        self._write(f"DELETE FROM sentences WHERE key IN ({old})", [(self.bound,)])  # noqa: S608

    def __len__(self) -> int:
        """Sentences kept."""
        rows = self._run("SELECT count(*) FROM sentences")
        return int(rows[0][0]) if rows else 0

    def remembered(self) -> list[str]:
        """The memory that was kept with `keep_memory`, oldest first."""
        return [text for (text,) in self._run("SELECT text FROM memory ORDER BY place")]

    def keep_memory(self, memory: Memory) -> None:
        """Keep the memory for the next process, in the place of the one before."""
        rows = list(enumerate(memory.texts()))
        self._write("INSERT OR REPLACE INTO memory VALUES (?, ?)", rows)

    def _run(self, sql: str, values: Sequence[object] = ()) -> list[tuple[str, ...]]:
        try:
            with self._guard:
                return self._open().execute(sql, tuple(values)).fetchall()
        except sqlite3.Error as error:
            self._give_up(error)
            return []

    def _write(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        try:
            with self._guard, self._open() as connection:
                connection.executemany(sql, rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(
                self.path or ":memory:", timeout=1, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=OFF")
            connection.executescript(_SCHEMA)
            self._connection = connection
        return self._connection

    def _give_up(self, error: sqlite3.Error) -> None:
        """Go on in memory for the life of this process."""
        if self.path is None:
            return
        note(f"Explanations are not kept: {self.path} cannot be used ({error}); delete it.")
        with self._guard:
            self.path, self._connection = None, None


class Explanations:
    """Memory and cache of one data set in one process.

    Args:
        cache: of sentences; in memory when None.
        keep: whether the memory outlives the process.
    """

    def __init__(self, cache: SentenceCache | None = None, *, keep: bool = False) -> None:
        self.cache = SentenceCache() if cache is None else cache  # an empty one has no length
        self.keep = keep
        self.memory = Memory(self.cache.remembered() if keep else ())

    @classmethod
    def of(cls, dataset: str, *, keep: bool = False) -> Explanations:
        """Those of a data set under the home: `cache/explanations/<dataset>.sqlite`."""
        path = subfolder("cache", "explanations") / f"{safe_name(dataset)}.sqlite"
        return cls(SentenceCache(path), keep=keep)

    def remember(self, texts: Sequence[str]) -> None:
        """Take sentences that were shown into the memory."""
        self.memory.add(texts)
        if self.keep:
            self.cache.keep_memory(self.memory)
