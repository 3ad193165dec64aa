"""Checkpoints of runs: a run that was killed goes on where it was, and repeats no finished call.

LangGraph saves the state after every node, and what each finished expert made while the others are
still at work. It is kept in SQLite under the home, or in Postgres when `FORETASTE_CHECKPOINTS` holds
its address, or `FORETASTE_STATE` for all that servers share. A checkpoint holds what a person chose
and was told, so it is kept for a few days only, and `forget` deletes those of one user.

What is read back is rebuilt from an allow-list of the classes of the state; nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args, get_type_hints
from uuid import UUID

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph.state import CompiledStateGraph
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from foretaste.agents.contexts.context import Reader
from foretaste.agents.graph import build_graph
from foretaste.agents.objects import Request
from foretaste.agents.wording import prompting
from foretaste.data.dataset import Dataset
from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.files import home, safe_name, subfolder
from foretaste.data.postgres import library_for, state_address

SETTING = "FORETASTE_CHECKPOINTS"
KEPT_RUNS, KEPT_DAYS = 50, 7.0
_UUID_EPOCH_S = 12_219_292_800  # from the epoch of UUIDs, 1582-10-15, to 1970
_THREADS = (
    "SELECT thread_id, MAX(checkpoint_id) AS newest FROM checkpoints "
    "GROUP BY thread_id ORDER BY newest DESC"
)
Graph = CompiledStateGraph[Any, Any, Any, Any]


@dataclass(frozen=True)
class Thread:
    """The checkpoints of one run.

    Attributes:
        saver: where they are kept.
        config: names the run for LangGraph.
        begun: whether something was saved before.
        done: whether it came to its end, so that there is nothing left to ask a model.
    """

    saver: BaseCheckpointSaver[Any]
    config: RunnableConfig
    begun: bool
    done: bool = False

    def over(self, graph: Graph) -> Graph:
        """The same graph, saving what it does."""
        return graph.copy({"checkpointer": self.saver})

    async def finished(self, graph: Graph) -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
        """Id, node and update of each task that earlier processes finished, in their order.

        Args:
            graph: as `over` gave it.
        """
        past = [snapshot async for snapshot in graph.aget_state_history(self.config)]
        for snapshot in reversed(past):
            for task in snapshot.tasks:
                if isinstance(task.result, dict) and task.name in graph.builder.nodes:
                    yield task.id, task.name, task.result


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one data set, and of no other program; `opened` makes it."""

    saver: BaseCheckpointSaver[Any]
    connection: Any
    dataset: str

    @property
    def prefix(self) -> str:
        """How the threads of this data set begin: a database may hold others too."""
        return f"foretaste/{self.dataset}/"

    async def thread(self, run_id: str, made_of: dict[str, str], user_id: str | None) -> Thread:
        """The run of this name, to begin or to go on with.

        Args:
            run_id: its name: letters, digits, `-`, `_` and `.`.
            made_of: see `made_of`.
            user_id: whom it is about, so that it can be forgotten.

        Raises:
            InputError: it was begun with something else; nothing was changed.
        """
        config = RunnableConfig(
            configurable={"thread_id": self.prefix + safe_name(run_id)},
            metadata={f"of_{name}": value for name, value in made_of.items()}
            | ({} if user_id is None else {"user": _hash(user_id)}),
        )
        found = await self.saver.aget_tuple(config)
        before: dict[str, Any] = dict(found.metadata) if found else {}
        others = [name for name, value in made_of.items() if before.get(f"of_{name}") != value]
        if found and others:
            raise InputError(
                f"Run {run_id!r} was begun with another {' and another '.join(others)}, so it "
                "cannot go on; call it as before, or give another run id."
            )
        thread = Thread(self.saver, config, begun=found is not None)
        if not thread.begun:
            return thread
        snapshot = await thread.over(build_graph()).aget_state(config)
        return replace(thread, done=not snapshot.next)

    async def prune(self, now: float | None = None) -> int:
        """Delete runs beyond the newest `KEPT_RUNS`, and those untouched for `KEPT_DAYS`.

        Args:
            now: seconds since 1970; the present when None.

        Returns:
            How many runs were deleted.
        """
        oldest = (time.time() if now is None else now) - KEPT_DAYS * 86_400
        own = [row for row in await self._rows(_THREADS) if row[0].startswith(self.prefix)]
        old = [
            thread
            for place, (thread, newest) in enumerate(own)
            if place >= KEPT_RUNS or _saved_at(newest) < oldest
        ]
        await self._delete(old)
        return len(old)

    async def about(self, user_id: str) -> list[dict[str, Any]]:
        """The newest state of every run that is about this user: run, at (its time), state."""
        newest: dict[str, dict[str, Any]] = {}
        async for saved in self.saver.alist(None, filter={"user": _hash(user_id)}):
            name = saved.config["configurable"]["thread_id"]
            if name.startswith(self.prefix) and name not in newest:
                state = to_jsonable_python(saved.checkpoint["channel_values"], fallback=str)
                at = saved.checkpoint["ts"]
                newest[name] = {"run": name.removeprefix(self.prefix), "at": at, "state": state}
        return list(newest.values())

    async def forget(self, user_id: str) -> int:
        """Delete every run that is about this user; gives their number.

        Runs on an inline history name nobody: those go with their age.
        """
        saved = self.saver.alist(None, filter={"user": _hash(user_id)})
        names = {one.config["configurable"]["thread_id"] async for one in saved}
        own = [name for name in names if name.startswith(self.prefix)]
        await self._delete(own)
        return len(own)

    async def _delete(self, threads: list[str]) -> None:
        for thread in threads:
            await self.saver.adelete_thread(thread)
        if threads and isinstance(self.connection, aiosqlite.Connection):
            await self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    async def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        cursor = await self.connection.execute(sql)
        rows = await cursor.fetchall()
        return [tuple(row.values()) if isinstance(row, dict) else tuple(row) for row in rows]


@asynccontextmanager
async def opened(dataset: str) -> AsyncGenerator[Checkpoints]:
    """The checkpoints of a data set, old ones deleted, for the block.

    Raises:
        ForetasteError: the database cannot be opened.
        InputError: `FORETASTE_CHECKPOINTS` is no address, or Postgres' library is missing.
    """
    address = os.environ.get(SETTING) or state_address()
    if not address:
        async with _in_sqlite(subfolder("runs", dataset) / "checkpoints.sqlite") as saver:
            yield await _pruned(Checkpoints(saver, saver.conn, dataset))
    elif address.startswith(("postgresql://", "postgres://")):
        async with _in_postgres(address) as saver:
            yield await _pruned(Checkpoints(saver, saver.conn, dataset))
    else:
        raise InputError(
            f"{SETTING} should hold an address like postgresql://user@host/database, or nothing "
            "for SQLite under the home."
        )


async def about(dataset: str, user_id: str) -> list[dict[str, Any]]:
    """What the checkpoints of a data set hold of a user. Makes no database."""
    if not _there(dataset):
        return []
    async with opened(dataset) as checkpoints:
        return await checkpoints.about(user_id)


async def forget(dataset: str, user_id: str) -> int:
    """Delete every checkpoint of a user; gives the number of runs. Makes no database."""
    if not _there(dataset):
        return 0
    async with opened(dataset) as checkpoints:
        return await checkpoints.forget(user_id)


def _there(dataset: str) -> bool:
    """Whether there is a database to look into."""
    path = home() / "runs" / safe_name(dataset) / "checkpoints.sqlite"
    return bool(os.environ.get(SETTING) or state_address()) or path.exists()


def made_of(
    dataset: Dataset,
    settings: Sequence[BaseModel],
    request: Request,
    reader: Reader,
    model: str,
) -> dict[str, str]:
    """What a run depends on, so that one made of something else is not gone on with.

    Args:
        dataset: whose items are recommended.
        settings: of the agents, and whatever else decides what they make.
        request: of the caller.
        reader: the caller, read. The day may change before a run goes on.
        model: which language model answers, and where.

    Returns:
        Name for people → fingerprint.
    """
    return {
        "request": _hash(request.model_dump_json()),
        "history": _hash(
            reader.context.model_dump_json(exclude={"environment", "profile", "wish"})
        ),
        "data set": dataset.info.fingerprint,
        "catalogue": hashlib.sha256(reader.allowed.tobytes()).hexdigest()[:32],
        "prompts": prompting.fingerprint(),
        "settings": _hash("\0".join(one.model_dump_json() for one in settings)),
        "model": _hash(model),
        "code": _code(),
    }


def state_classes() -> tuple[type[BaseModel], ...]:
    """The classes that the graph's state and its tasks are made of: all that is ever rebuilt."""
    schemas = build_graph().builder.schemas
    found = {
        one for schema in schemas for hint in get_type_hints(schema).values() for one in _of(hint)
    }
    return tuple(sorted(found, key=lambda one: one.__name__))


def serializer() -> JsonPlusSerializer:
    """How a checkpoint is written: msgpack, without pickle, rebuilding `state_classes` alone."""
    return JsonPlusSerializer(
        pickle_fallback=False,
        allowed_msgpack_modules=[(one.__module__, one.__name__) for one in state_classes()],
    )


@cache
def _code() -> str:
    """Fingerprint of the code that wrote a checkpoint: versions and the shape of its classes."""
    shapes = [str(one.model_json_schema()) for one in state_classes()]
    return _hash("\0".join([version("foretaste"), version("langgraph"), *shapes]))


def _of(hint: Any) -> Iterator[type[BaseModel]]:
    """The pydantic classes in a type hint."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint
    for inner in get_args(hint):
        yield from _of(inner)


async def _pruned(checkpoints: Checkpoints) -> Checkpoints:
    await checkpoints.prune()
    return checkpoints


@asynccontextmanager
async def _in_sqlite(path: Path) -> AsyncGenerator[AsyncSqliteSaver]:
    """A saver in one file that its owner alone can read; deleted rows are overwritten."""
    path.touch(mode=0o600)
    async with aiosqlite.connect(path) as connection:
        saver = AsyncSqliteSaver(connection, serde=serializer())
        try:
            await connection.execute("PRAGMA secure_delete=ON")
            await saver.setup()
        except sqlite3.Error as error:
            raise ForetasteError(
                f"The checkpoints in {path} cannot be opened ({error}); move the file away."
            ) from error
        yield saver


@asynccontextmanager
async def _in_postgres(address: str) -> AsyncGenerator[Any]:
    """A saver in a Postgres database, its tables made when missing."""
    with library_for(SETTING):
        import psycopg
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
    try:
        async with AsyncPostgresSaver.from_conn_string(address, serde=serializer()) as saver:
            await saver.setup()
            yield saver
    except psycopg.Error as error:
        first = str(error).strip().splitlines()[:1]
        raise ForetasteError(
            f"The Postgres database of {SETTING} does not answer ({''.join(first)})."
        ) from error


def _saved_at(checkpoint_id: str) -> float:
    """Seconds since 1970 at which a checkpoint was made, from its time-ordered id (UUID 6)."""
    bits = UUID(checkpoint_id).int
    ticks = (bits >> 80) << 12 | (bits >> 64) & 0x0FFF  # of 100 ns
    return ticks / 1e7 - _UUID_EPOCH_S


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
