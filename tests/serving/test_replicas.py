"""Several servers of one model: asks that begin alike go together, none waits while another idles."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from foretaste.data.errors import EngineUnavailable, InputError
from foretaste.serving.chat import Answer, Ask, Message, Usage
from foretaste.serving.engine import open_chat
from foretaste.serving.engine_config import EngineConfig
from foretaste.serving.replicas import ReplicatedChat, fitting_replicas


class Said(BaseModel):
    by: int


class Server:
    """Answers with its number, when it is let."""

    name = "m"

    def __init__(self, number: int, gone: bool = False) -> None:
        self.number, self.gone, self.asked = number, gone, 0
        self.free = asyncio.Event()
        self.closed = False

    async def ask(self, ask: Ask[Any]) -> Answer[Any]:
        self.asked += 1
        if self.gone:
            raise EngineUnavailable("gone", 7.0)
        await self.free.wait()
        return Answer(Said(by=self.number), "", Usage())

    async def close(self) -> None:
        self.closed = True


def _ask(text: str) -> Ask[Said]:
    return Ask((Message("system", "you are"), Message("user", text)), Said)


def test_asks_that_begin_alike_go_to_one_server() -> None:
    async def run() -> set[int]:
        servers = [Server(n) for n in range(3)]
        for server in servers:
            server.free.set()
        chat = ReplicatedChat(servers)
        same = "context of one user, " * 30
        return {(await chat.ask(_ask(f"{same} question {n}"))).parsed.by for n in range(9)}

    assert len(asyncio.run(run())) == 1


@given(st.integers(1, 4), st.integers(0, 40))
def test_no_server_has_many_more_asks_than_another(servers: int, asks: int) -> None:
    async def run() -> list[int]:
        made = [Server(n) for n in range(servers)]
        chat = ReplicatedChat(made)
        tasks = [asyncio.create_task(chat.ask(_ask("the same"))) for _ in range(asks)]
        await asyncio.sleep(0)
        for server in made:
            server.free.set()
        await asyncio.gather(*tasks)
        return [server.asked for server in made]

    counts = asyncio.run(run())
    assert sum(counts) == asks
    assert max(counts) - min(counts) <= 3


def test_another_server_answers_for_one_that_is_gone() -> None:
    async def run() -> tuple[set[int], list[bool]]:
        servers = [Server(0, gone=True), Server(1)]
        servers[1].free.set()
        chat = ReplicatedChat(servers)
        by = {(await chat.ask(_ask(f"user {n}"))).parsed.by for n in range(20)}
        await chat.close()
        return by, [server.closed for server in servers]

    assert asyncio.run(run()) == ({1}, [True, True])


def test_when_all_are_gone_it_is_said() -> None:
    async def run() -> None:
        await ReplicatedChat([Server(n, gone=True) for n in range(2)]).ask(_ask("anything"))

    with pytest.raises(EngineUnavailable):
        asyncio.run(run())


def test_what_is_asked_for_is_taken_and_the_rest_follows_cores_and_memory() -> None:
    assert fitting_replicas(EngineConfig(replicas=5), 1, 1) == 5
    assert fitting_replicas(EngineConfig(kv_cache_gb=4), 8, 16) == 1
    assert fitting_replicas(EngineConfig(), 8, 0) == 1


def test_binding_cores_and_several_servers_exclude_each_other() -> None:
    async def run() -> None:
        async with open_chat(EngineConfig(replicas=2, cores="0-3")):
            pass

    with pytest.raises(InputError, match=r"engine\.replicas=1"):
        asyncio.run(run())
