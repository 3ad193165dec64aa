"""One door to a language model, wherever it runs: `async with open_chat(EngineConfig()) as chat`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

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
        from foretaste.serving.vllm_server import vllm_server_async

        async with (
            vllm_server_async(config) as server,
            _closing(client(server.url, server.model, alive=server.check)) as chat,
        ):
            yield chat


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
