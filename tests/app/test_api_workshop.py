"""Work on another loop: its result and its faults come back, and who leaves stops it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from foretaste.app.api.workshop import AskedFrom, Workshop
from foretaste.data.errors import EngineError


class Model:
    """Says on which thread it was asked; fails when told to."""

    name = "m"

    async def ask(self, ask: Any) -> Any:
        if ask == "fail":
            raise EngineError("gone")
        return threading.get_ident()

    async def close(self) -> None: ...


def test_work_is_done_in_another_thread_and_the_model_is_asked_where_it_belongs() -> None:
    async def run() -> tuple[int, int]:
        workshop, model = Workshop(), AskedFrom(Model(), asyncio.get_running_loop())

        async def work() -> tuple[int, int]:
            return threading.get_ident(), await model.ask("who")

        try:
            return await workshop.run(work())
        finally:
            await workshop.close()

    worked, asked = asyncio.run(run())
    assert asked == threading.get_ident() != worked


def test_faults_come_back_as_they_are() -> None:
    async def run() -> None:
        workshop, model = Workshop(), AskedFrom(Model(), asyncio.get_running_loop())
        try:
            await workshop.run(model.ask("fail"))
        finally:
            await workshop.close()

    with pytest.raises(EngineError, match="gone"):
        asyncio.run(run())


def test_who_leaves_stops_the_work() -> None:
    begun, stopped = threading.Event(), threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    async def run() -> None:
        workshop = Workshop()
        task = asyncio.create_task(workshop.run(work()))
        await asyncio.to_thread(begun.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(stopped.wait, 5)
        await workshop.close()

    asyncio.run(run())


def test_closing_ends_what_is_under_way_and_can_be_repeated() -> None:
    async def run() -> None:
        workshop = Workshop()
        task = asyncio.create_task(workshop.run(asyncio.sleep(60)))
        await asyncio.sleep(0.05)
        await workshop.close()
        await workshop.close()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
