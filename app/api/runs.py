"""Requests with a `run_id`: what was finished of them before is not done again.

A client that lost its answer (the server was killed, the connection broke, the deadline passed) sends
the same request again and gets the run where it had come to; a finished one is given without asking the
language model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from foretaste.agents.contexts import context
from foretaste.agents.objects import Request
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.running.checkpoints import Thread, made_of, opened


class Runs:
    """The named runs of one service. Belongs to one event loop."""

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(
        self, tools: Tools, request: Request, model: str, run_id: str | None
    ) -> AsyncGenerator[Thread | None]:
        """The checkpoints of a run for the block; None without a name.

        Two requests of one name take turns: the second is given what the first made.

        Args:
            tools: of the service.
            request: of the caller.
            model: name of the language model that will answer; empty for none.
            run_id: its name.

        Raises:
            InputError: the run was begun with something else.
        """
        if run_id is None:
            yield None
            return
        turn = self._turns.setdefault(run_id, asyncio.Lock())
        async with turn, opened(tools.dataset.name) as kept:
            reader = await asyncio.to_thread(context.read, tools.dataset, request)
            settings = [tools.config] + ([tools.surroundings.config] if tools.surroundings else [])
            depends = made_of(tools.dataset, settings, request, reader, model)
            yield await kept.thread(run_id, depends, request.user_id)
