"""One worker of a batch: tools loaded once, then user after user; used here and in Ray's actors.

What is made of a user depends on the user alone: profiles are read from the whole history, nothing
that was said to others is remembered, and the day is the one on which the batch began. So rows are the
same whoever works, in whatever order, and however often the work was interrupted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from foretaste.agents.config import AgentsConfig
from foretaste.agents.contexts.surroundings import Surroundings
from foretaste.agents.explaining.kept import Explanations
from foretaste.agents.objects import Request
from foretaste.agents.recommend import recommend
from foretaste.agents.retrieval.tools import Tools
from foretaste.app.api.errors import place_of
from foretaste.app.fleet.folder import Folder, Part
from foretaste.app.recommending import EngineChoice, engine_of, load
from foretaste.data.appended import Appended
from foretaste.data.dataset import Dataset
from foretaste.data.errors import EngineError, EngineUnavailable, ForetasteError
from foretaste.data.settings import override
from foretaste.data.store import load_dataset

HISTORY = 50  # newest events of a user that a row repeats
_AGAIN, _PAUSE_S = (
    3,
    2.0,
)  # times that a failing engine is asked again about one user, after a pause
_TOKENS = ("prompt", "cached", "completion")
Told = Callable[[int], None]


@dataclass(frozen=True)
class Given:
    """What a worker is given; can be sent to another machine.

    Attributes:
        choice: of the language model, and the settings.
        dataset: name of the data set.
        request: asked for every user, but for the user's id.
        folder: of the batch; reachable from every machine.
        partitions: how many it has.
        concurrency: users under way at once.
    """

    choice: EngineChoice
    dataset: str
    request: Request
    folder: Path
    partitions: int
    concurrency: int = 1


class Worker:
    """Works through partitions; a context manager, whose end stops the engine it started.

    Args:
        given: what to do.
        dataset: when it is loaded already.
    """

    def __init__(self, given: Given, dataset: Dataset | None = None) -> None:
        self._given, self._dataset = given, dataset
        self._folder = Folder(given.folder, given.partitions)
        self._runner, self._stack = asyncio.Runner(), AsyncExitStack()

    def __enter__(self) -> Self:
        """Load everything.

        Raises:
            ForetasteError: the data set, a model or an index is not there.
        """
        try:
            self._tools = self._runner.run(self._load())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the engine."""
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def work(self, partition: int, users: Sequence[str], told: Told) -> Part:
        """Make the rows of a partition that are not there yet, then its file.

        Args:
            partition: its number.
            users: of this partition, sorted.
            told: called with a number of users that have their row now.

        Raises:
            EngineError: the language model is gone; finished rows are kept.
            ForetasteError: the disk would not take a row.
        """
        start = time.monotonic()
        with self._folder.rows(partition) as rows:
            self._runner.run(self._through(users, rows, told))
            ordered = [rows.done[user] for user in users]
        try:
            size, digest = self._folder.write(partition, ordered)
        except OSError as error:
            raise _full(error) from error
        return Part(
            key=f"{partition}/{digest[:16]}",
            partition=partition,
            file=self._folder.file_of(partition).name,
            users=len(ordered),
            failed=sum(row["error"] is not None for row in ordered),
            calls=sum(row["calls"] for row in ordered),
            fallbacks=sum(row["fallbacks"] for row in ordered),
            **{name: sum(row["tokens"][name] for row in ordered) for name in _TOKENS},
            seconds=round(time.monotonic() - start, 3),
            bytes=size,
            sha256=digest,
        )

    async def _load(self) -> Tools:
        choice = self._given.choice
        config = override(AgentsConfig(), "agents", choice.settings)
        dataset = self._dataset or load_dataset(self._given.dataset)
        engine = engine_of(choice)
        if engine is not None and engine.endpoint is None:
            engine = engine.model_copy(update={"restart": True})
        told = Surroundings()  # the request says what is told of the day
        return await load(self._stack, dataset, config, engine, told, kept=False)

    async def _through(
        self, users: Sequence[str], rows: Appended[dict[str, Any]], told: Told
    ) -> None:
        left = (user for user in users if user not in rows.done)

        async def some() -> None:
            for user in left:
                row = await self._row(user)
                try:
                    await asyncio.to_thread(rows.add, row)
                except OSError as error:
                    raise _full(error) from error
                told(1)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._given.concurrency):
                    group.create_task(some())
        except* ForetasteError as errors:
            raise errors.exceptions[0] from None

    async def _row(self, user: str) -> dict[str, Any]:
        """The row of one user; a user who fails gets one with the reason."""
        request = self._given.request.model_copy(update={"user_id": user})
        tools = replace(self._tools, explanations=Explanations())
        try:
            return row_of(await _asked(tools, request))
        except EngineError:
            raise
        except ForetasteError as error:
            return failed(user, str(error))
        except Exception as error:  # noqa: BLE001 (one fault must not stop a million others)
            return failed(user, f"{type(error).__name__} at {place_of(error)}")


async def _asked(tools: Tools, request: Request) -> dict[str, Any]:
    """The result of one user; an engine that is slow once, or started again, is asked again."""
    for _ in range(_AGAIN):
        try:
            return await recommend(tools, request)
        except EngineError as error:
            pause = error.retry_after if isinstance(error, EngineUnavailable) else _PAUSE_S
            await asyncio.sleep(pause)
    return await recommend(tools, request)


def row_of(result: dict[str, Any]) -> dict[str, Any]:
    """What a partition keeps of a result of `recommend`: nothing that differs from run to run.

    `tokens` is for the manifest alone.
    """
    spent = result["fallbacks"].values()
    return {
        "user_id": result["user_id"],
        "error": None,
        "recommendations": [
            {
                "rank": rank,
                "item_id": one["item_id"],
                "title": one["title"],
                "score": round(one["score"], 6),
                "channel": one["channel"],
                "channels": sorted(one["placement"]["ranks"]) if one["placement"] else [],
                "tags": list(one["tags"]),
                "explanation": one["explanation"],
                "explained_by": one["explained_by"],
            }
            for rank, one in enumerate(result["recommendations"], 1)
        ],
        "tags": [
            {key: one[key] for key in ("text", "persona", "kept", "proposed_by", "reason")}
            for one in result["tags"]
            if one["kept"]
        ],
        "personas": [
            {key: one[key] for key in ("name", "description", "source")}
            | {"evidence": list(one["evidence"])}
            for one in result["personas"]
        ],
        "history": [
            {**event, "categories": list(event["categories"])}
            for event in result["history"][-HISTORY:]
        ],
        "calls": sum(one["calls"] for one in spent),
        "fallbacks": sum(one["fallbacks"] for one in spent),
        "tokens": result["tokens"].get("total") or dict.fromkeys(_TOKENS, 0),
    }


def failed(user: str, reason: str) -> dict[str, Any]:
    """The row of a user who got no page."""
    empty: dict[str, Any] = {
        name: [] for name in ("recommendations", "tags", "personas", "history")
    }
    spent = {"calls": 0, "fallbacks": 0, "tokens": dict.fromkeys(_TOKENS, 0)}
    return {"user_id": user, "error": reason, **empty, **spent}


def _full(error: OSError) -> ForetasteError:
    return ForetasteError(
        f"A row could not be written ({error.strerror}); free some space and run the same command "
        "again: it goes on from here."
    )
