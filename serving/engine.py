"""One door to a language model, wherever it runs: `async with open_chat(EngineConfig()) as chat`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from foretaste.data.errors import InputError
from foretaste.serving.adapters import Adapters, check_adapter, listed
from foretaste.serving.arithmetic import usable_cores
from foretaste.serving.chat import ChatModel
from foretaste.serving.engine_config import DEFAULT_MODEL, EngineConfig

__all__ = ["DEFAULT_MODEL", "EngineConfig", "open_chat"]


@asynccontextmanager
async def open_chat(config: EngineConfig) -> AsyncIterator[ChatModel]:
    """The language model that `config` describes, for the block.

    An `endpoint` is only talked to; vLLM is started as a child and stopped with the block;
    transformers is loaded into this process. Started engines show their progress on standard
    error.

    Raises:
        InputError: the address is none, or the engine is not installed (`ModelError` when the
            model is missing or refused).
        EngineError: the engine did not start.
    """
    client = await _client(config)
    if config.endpoint is not None:
        async with _closing(client(config.endpoint, config.model, alive=None)) as chat:
            yield chat
    elif config.engine == "transformers":
        from foretaste.serving.transformers_chat import TransformersChat

        async with _closing(await TransformersChat.load(config)) as chat:
            yield chat
    else:
        async with _own_vllms(config, client) as chat:
            yield chat


@asynccontextmanager
async def _own_vllms(
    config: EngineConfig, client: Callable[..., ChatModel]
) -> AsyncIterator[ChatModel]:
    """As many vLLM as `config` says, started at the same time, behind one client."""
    from foretaste.serving.replicas import ReplicatedChat, usual_replicas

    count = usual_replicas(config) if config.restart else config.replicas or 1
    if count == 1:
        async with _own_vllm(config, client) as chat:
            yield chat
        return
    if config.cores is not None:
        raise InputError(
            "engine.cores binds one server; leave it out, or set engine.replicas=1 beside it."
        )
    async with AsyncExitStack() as stack:
        starting = (
            stack.enter_async_context(_own_vllm(one, client)) for one in shares(config, count)
        )
        done = await asyncio.gather(*starting, return_exceptions=True)
        for one in done:
            if isinstance(one, BaseException):
                raise one
        yield ReplicatedChat([one for one in done if not isinstance(one, BaseException)])


def shares(config: EngineConfig, count: int) -> list[EngineConfig]:
    """The settings of each of `count` servers: its threads, and a port of its own if one was named.

    >>> [(one.threads, one.port) for one in shares(EngineConfig(threads=3, port=9000), 2)]
    [(3, 9000), (3, 9001)]
    """
    threads = config.threads or max(1, usable_cores() // count)
    return [
        config.model_copy(update={"threads": threads, "port": config.port and config.port + number})
        for number in range(count)
    ]


@asynccontextmanager
async def _own_vllm(
    config: EngineConfig, client: Callable[..., ChatModel]
) -> AsyncIterator[ChatModel]:
    """vLLM started here, with the adapters that `config` names; started again when it says so."""
    from foretaste.serving.vllm_server import VllmServer, vllm_server_async
    from foretaste.serving.vllm_supervisor import SupervisedChat, supervised

    address: list[Callable[[], str]] = []
    adapters = _adapters(config, lambda: address[0]())

    def connect(server: VllmServer) -> ChatModel:
        return client(server.url, server.model, alive=server.check, adapters=adapters)

    async with AsyncExitStack() as stack:
        if config.restart:
            supervisor = await stack.enter_async_context(supervised(config, adapters))
            address.append(lambda: supervisor.server().url)
            chat: ChatModel = SupervisedChat(supervisor, connect)
        else:
            server = await stack.enter_async_context(vllm_server_async(config))
            address.append(lambda: server.url)
            chat = connect(server)
        await _load(config, adapters)
        yield await stack.enter_async_context(_closing(chat))


def _adapters(config: EngineConfig, url: Callable[[], str]) -> Adapters | None:
    if not config.enable_lora and config.adapters is None:
        return None
    for _, _, folder in listed(config.adapters) if config.adapters else ():
        check_adapter(folder, config.max_lora_rank)  # before the engine is waited for
    return Adapters(url, config.max_lora_rank)


async def _load(config: EngineConfig, adapters: Adapters | None) -> None:
    if adapters is not None and config.adapters is not None:
        for name, version, folder in listed(config.adapters):
            await adapters.load(name, folder, version)


async def _client(config: EngineConfig) -> Callable[..., ChatModel]:
    """What asks the server, in the form of `config`; what that form needs is loaded here."""
    from foretaste.serving.openai_chat import OpenAIChat

    if config.form == "text":
        return OpenAIChat
    from foretaste.serving.hybrid_chat import HybridChat, load_hybrid

    writer, vectors = await asyncio.to_thread(load_hybrid, config)
    return partial(HybridChat, writer=writer, vectors=vectors)


@asynccontextmanager
async def _closing(chat: ChatModel) -> AsyncIterator[ChatModel]:
    try:
        yield chat
    finally:
        await chat.close()
