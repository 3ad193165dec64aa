"""What all tabs share: the data sets that are served, the engine, and one run for one visitor."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from foretaste.agents.objects import Request
from foretaste.agents.recommend import Event
from foretaste.app.api.service import Service
from foretaste.data.store import list_datasets


@dataclass
class Desk:
    """The services behind the page.

    Attributes:
        first: of the data set that the process was started with.
        opening: makes the service of another data set, with the same engine; slow.
    """

    first: Service
    opening: Callable[[str], Service]
    _others: dict[str, Service] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _working: dict[str, set[asyncio.Task[Any]]] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Data sets that can be chosen, the first one first."""
        own = self.first.live.tools.dataset.name
        return [own, *(one.name for one in list_datasets() if one.name != own)]

    def loaded(self, name: str) -> Service:
        """The service of a data set that was asked for before."""
        own = self.first.live.tools.dataset.name
        return self.first if name == own else self._others[name]

    def leave(self, session: str) -> None:
        """End what is under way for a visitor whose page was closed or loaded again."""
        for task in self._working.pop(session, ()):
            task.cancel()

    def working(self, session: str, task: asyncio.Task[Any]) -> None:
        """Remember what is under way for a visitor until it is done."""
        own = self._working.setdefault(session, set())
        own.add(task)

        def done(_: object) -> None:
            own.discard(task)
            if not own and self._working.get(session) is own:
                del self._working[session]

        task.add_done_callback(done)

    async def service(self, name: str) -> Service:
        """The service of a data set, loaded when it is first asked for.

        Raises:
            ForetasteError: it cannot be loaded.
        """
        if name == self.first.live.tools.dataset.name:
            return self.first
        async with self._lock:
            if name not in self._others:
                self._others[name] = await asyncio.to_thread(self.opening, name)
            return self._others[name]


async def steps(
    desk: Desk, session: str, service: Service, request: Request
) -> AsyncGenerator[Event]:
    """The events of one run as they come; the last is ("result", the whole result).

    Ends its work when it is closed, and ends early when the visitor leaves: nobody waits for it.

    Args:
        desk: told what is under way.
        session: of the visitor.
        service: of the data set.
        request: what is asked for.

    Raises:
        ForetasteError: what went wrong.
    """
    made: asyncio.Queue[Event | None] = asyncio.Queue()
    request_id = uuid.uuid4().hex
    work: asyncio.Task[dict[str, Any]] = asyncio.create_task(
        service.recommend(
            request, request_id, lambda node, update: made.put_nowait((node, update)), traced=True
        )
    )
    desk.working(session, work)
    work.add_done_callback(lambda _: made.put_nowait(None))
    try:
        while (step := await made.get()) is not None:
            yield step
        if not work.cancelled():
            yield "result", work.result()
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await work
