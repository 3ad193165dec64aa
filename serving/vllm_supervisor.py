"""vLLM that is started again when it ends, and the `ChatModel` that bridges the gap.

A request that was under way when the engine died is asked once more, of the engine that came after
it. New requests meanwhile are refused at once, with the seconds after which to come again, so that
nobody queues behind a start of half a minute.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from foretaste.data.errors import EngineError, EngineUnavailable
from foretaste.data.progress import note
from foretaste.serving.adapters import Adapters
from foretaste.serving.chat import Answer, Ask, ChatModel, Parsed
from foretaste.serving.engine_config import EngineConfig
from foretaste.serving.vllm_server import VllmServer, expected_start_s, vllm_server_async

_LOOK_S = 0.25  # between two looks at the process
_FIRST_PAUSE_S = 1.0  # before the first new start, doubled for each that fails
_LONGEST_PAUSE_S = 60.0
_STEADY_S = 60.0  # a server that lived so long starts the pauses anew

Connect = Callable[[VllmServer], ChatModel]


class Supervisor:
    """Keeps one vLLM running. Made by `supervised`.

    Args:
        config: what is started.
        adapters: loaded into every new server; None when it takes none.
    """

    def __init__(self, config: EngineConfig, adapters: Adapters | None) -> None:
        self._config, self._adapters = config, adapters
        self._server: VllmServer | None = None
        self._changed = asyncio.Condition()
        self._expected_at = time.monotonic() + expected_start_s()
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.starts = 0

    @property
    def ready(self) -> bool:
        """Whether a server runs and takes requests."""
        return self._server is not None and self._server.process.poll() is None

    @property
    def retry_after(self) -> float:
        """Seconds until a server is expected to be there, at least one."""
        return max(1.0, self._expected_at - time.monotonic())

    def server(self) -> VllmServer:
        """The server that runs now.

        Raises:
            EngineUnavailable: none does.
        """
        if self._server is None or not self.ready:
            raise self.unavailable()
        return self._server

    def unavailable(self) -> EngineUnavailable:
        """The error that tells a caller to come again."""
        wait = self.retry_after
        return EngineUnavailable(f"vLLM is being started again; ask again in {wait:.0f} s.", wait)

    async def after(self, ended: VllmServer, within_s: float) -> VllmServer:
        """The server that takes the place of `ended`.

        Raises:
            EngineUnavailable: none came within `within_s` seconds.
        """
        try:
            async with asyncio.timeout(within_s), self._changed:
                await self._changed.wait_for(lambda: self.ready and self._server is not ended)
        except TimeoutError as error:
            raise self.unavailable() from error
        return self.server()

    async def started(self) -> None:
        """Wait for the first start; its `EngineError` is raised here, for it is not repeated."""
        await self._first

    async def run(self) -> None:
        """Start, watch, start again, until cancelled."""
        failures = 0
        while True:
            since = time.monotonic()
            try:
                async with vllm_server_async(self._config) as server:
                    await self._came(server)
                    since = time.monotonic()
                    while True:
                        server.check()
                        await asyncio.sleep(_LOOK_S)
            except EngineError as error:
                if not self._first.done():
                    self._first.set_exception(error)
                    return
                note(f"The engine ended and is started again. {error}")
            finally:
                self._server = None
            failures = 0 if time.monotonic() - since > _STEADY_S else failures + 1
            pause = min(_FIRST_PAUSE_S * 2 ** max(0, failures - 1), _LONGEST_PAUSE_S)
            self._expected_at = time.monotonic() + pause + expected_start_s()
            await asyncio.sleep(pause)

    async def _came(self, server: VllmServer) -> None:
        if self._adapters is not None:
            await self._adapters.load_again(f"{server.url}")
        async with self._changed:
            self._server = server
            self.starts += 1
            self._changed.notify_all()
        if not self._first.done():
            self._first.set_result(None)


@asynccontextmanager
async def supervised(
    config: EngineConfig, adapters: Adapters | None = None
) -> AsyncIterator[Supervisor]:
    """A vLLM that is started again when it ends, for the block; stopped after it.

    Raises:
        EngineError: the first start failed.
    """
    supervisor = Supervisor(config, adapters)
    task = asyncio.create_task(supervisor.run())
    try:
        await supervisor.started()
        yield supervisor
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class SupervisedChat:
    """Asks whichever server runs.

    Args:
        supervisor: keeps one running.
        connect: makes the client of a server.
    """

    def __init__(self, supervisor: Supervisor, connect: Connect) -> None:
        self._supervisor, self._connect = supervisor, connect
        self._of = supervisor.server()
        self._chat = connect(self._of)

    @property
    def name(self) -> str:
        """The model's name."""
        return self._chat.name

    @property
    def ready(self) -> bool:
        """Whether an ask would be taken now."""
        return self._supervisor.ready

    @property
    def retry_after(self) -> float:
        """Seconds until an ask should be taken again."""
        return self._supervisor.retry_after

    async def ask(self, ask: Ask[Parsed]) -> Answer[Parsed]:
        """Answer one question; once more when the engine died over it.

        Raises:
            EngineUnavailable: no engine runs, or the next one died too.
        """
        began = time.monotonic()
        server = self._supervisor.server()
        try:
            return await (await self._client(server)).ask(ask)
        except EngineError as error:
            if await asyncio.to_thread(_lives, server):
                raise
            left = ask.deadline_s - (time.monotonic() - began)
            if left <= 0:
                raise self._supervisor.unavailable() from error
        server = await self._supervisor.after(server, left)
        try:
            return await (await self._client(server)).ask(ask)
        except EngineError as error:
            if await asyncio.to_thread(_lives, server):
                raise
            raise self._supervisor.unavailable() from error

    async def close(self) -> None:
        """Close the connections."""
        await self._chat.close()

    async def _client(self, server: VllmServer) -> ChatModel:
        if server is not self._of:
            old, self._of, self._chat = self._chat, server, self._connect(server)
            await old.close()
        return self._chat


def _lives(server: VllmServer) -> bool:
    """Whether a server answers its health check: one whose engine died does not."""
    try:
        return server.ready()
    except EngineError:
        return False
