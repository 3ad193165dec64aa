"""What all tabs share: the data sets that are served, the engine, and one run for one visitor."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import gradio as gr

from foretaste.agents.objects import Request
from foretaste.agents.recommend import Event
from foretaste.app.api.service import Service
from foretaste.data.store import list_datasets

Made = TypeVar("Made")


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

    def stop(self, session: str, what: str) -> None:
        """End what a visitor has under way under this name, and nothing else."""
        for task in self._working.get(session, ()):
            if task.get_name() == what:
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
    desk: Desk, session: str, what: str, service: Service, request: Request
) -> AsyncGenerator[Event]:
    """The events of one run as they come; the last is ("result", the whole result).

    Args:
        desk: told what is under way.
        session: of the visitor.
        what: is under way; `stops` ends it by this name.
        service: of the data set.
        request: what is asked for.

    Raises:
        ForetasteError: what went wrong.
    """

    async def run(tell: Callable[[Event], None]) -> None:
        def step(node: str, made: Mapping[str, Any]) -> None:
            tell((node, made))

        made = await service.recommend(request, uuid.uuid4().hex, step, traced=True)
        tell(("result", made))

    async with aclosing(under_way(desk, session, what, run)) as events:
        async for event in events:
            yield event


async def each(
    desk: Desk, session: str, what: str, made: AsyncGenerator[Made]
) -> AsyncGenerator[Made]:
    """What a generator makes, its work ended with the visitor; see `under_way`."""

    async def run(tell: Callable[[Made], None]) -> None:
        async with aclosing(made) as values:
            async for value in values:
                tell(value)

    async with aclosing(under_way(desk, session, what, run)) as values:
        async for value in values:
            yield value


async def under_way(
    desk: Desk,
    session: str,
    what: str,
    run: Callable[[Callable[[Made], None]], Coroutine[Any, Any, None]],
) -> AsyncGenerator[Made]:
    """What `run` tells, as it comes.

    Its work ends when this is closed (Stop), and when the visitor leaves: nobody waits for it.

    Args:
        desk: told what is under way.
        session: of the visitor.
        what: is under way; `stops` ends it by this name.
        run: does the work; what it raises is raised here.
    """
    made: asyncio.Queue[tuple[Made] | None] = asyncio.Queue()
    work = asyncio.create_task(run(lambda value: made.put_nowait((value,))), name=what)
    desk.working(session, work)
    work.add_done_callback(lambda _: made.put_nowait(None))
    try:
        while (told := await made.get()) is not None:
            yield told[0]
        if not work.cancelled():
            work.result()
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await work


def stops(
    desk: Desk, what: str, button: gr.Button, running: Any, said: Any, tell: Callable[[], Any]
) -> None:
    """Let a button end an event, and say so when it has ended: what still came is not said over it.

    Args:
        desk: ends the work, also where the visitor's browser does not know the event's name yet.
        what: the name of the work.
        button: Stop.
        running: the event.
        said: where it is said; one component or several.
        tell: gives their values.
    """

    async def end(visitor: gr.Request) -> None:  # in the loop of the tasks
        desk.stop(visitor.session_hash or "", what)

    ended = button.click(end, None, None, cancels=[running], api_visibility="private")
    ended.then(tell, None, said, show_progress="hidden", api_visibility="private")
