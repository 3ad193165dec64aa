"""One door to a language model, wherever it runs: `async with open_chat(EngineConfig()) as chat`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
    if config.endpoint is not None:
        from foretaste.serving.openai_chat import OpenAIChat

        async with _closing(OpenAIChat(config.endpoint, config.model)) as chat:
            yield chat
    elif config.engine == "transformers":
        from foretaste.serving.transformers_chat import TransformersChat

        async with _closing(await TransformersChat.load(config)) as chat:
            yield chat
    else:
        from foretaste.serving.openai_chat import OpenAIChat
        from foretaste.serving.vllm_server import vllm_server_async

        async with (
            vllm_server_async(config) as server,
            _closing(OpenAIChat(server.url, server.model, alive=server.check)) as chat,
        ):
            yield chat


@asynccontextmanager
async def _closing(chat: ChatModel) -> AsyncIterator[ChatModel]:
    try:
        yield chat
    finally:
        await chat.close()
