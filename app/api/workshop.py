"""Where recommendations are worked out: an event loop in a thread of its own.

The loop that talks to callers is free meanwhile, so that feedback does not wait behind the ranking of
somebody's page: what the two share is the interpreter, which changes hands every millisecond.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from foretaste.serving.chat import Answer, Ask, ChatModel, Parsed

Made = TypeVar("Made")
_TURN_S = 0.001  # that a thread computes while another one waits; Python's own is five times longer


class Workshop:
    """Runs coroutines on its own loop, which begins with the first of them."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def run(self, work: Coroutine[Any, Any, Made]) -> Made:
        """What `work` gives; a caller that is cancelled cancels it, too."""
        future = asyncio.run_coroutine_threadsafe(work, self._begun())
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """End the loop and its thread; what is under way is cancelled."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = self._thread = None
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join)

    def _begun(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            sys.setswitchinterval(_TURN_S)
            self._thread = threading.Thread(
                target=_work, args=[self._loop], name="workshop", daemon=True
            )
            self._thread.start()
        return self._loop


class AskedFrom:
    """A language model that belongs to one loop, asked from another.

    Args:
        model: what answers.
        home: the loop that its connections belong to.
    """

    def __init__(self, model: ChatModel, home: asyncio.AbstractEventLoop) -> None:
        self._model, self._home = model, home

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model.name

    async def ask(self, ask: Ask[Parsed]) -> Answer[Parsed]:
        """Answer one question; see `ChatModel.ask`."""
        future = asyncio.run_coroutine_threadsafe(self._model.ask(ask), self._home)
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Nothing: the model is closed where it was opened."""


def _work(loop: asyncio.AbstractEventLoop) -> None:
    """The life of a workshop's thread."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
