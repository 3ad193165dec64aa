"""How fast vLLM reads and writes under one set of settings, in wall and processor seconds.

    python benchmarks/serving_throughput.py --set engine.max_num_seqs=32 --set engine.dtype=float32

One start: prompts of about 1,000 tokens read one after another (one token written each), then
`max_num_seqs` answers of 64 tokens at once. Processor seconds are those of all of the server's
processes, so that figures from a machine that others use can be compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
from pydantic import BaseModel, Field

from foretaste.data.errors import UnreadableAnswer
from foretaste.data.settings import override
from foretaste.serving.chat import Ask, Message, Usage
from foretaste.serving.engine_config import EngineConfig
from foretaste.serving.openai_chat import OpenAIChat
from foretaste.serving.vllm_server import VllmServer, vllm_server_async

WORDS = 700  # of a prompt that is only read
READS, WRITTEN = 4, 64


class Long(BaseModel):
    text: str = Field(min_length=1000, max_length=4000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--set", action="append", default=[], metavar="engine.FIELD=VALUE")
    options = parser.parse_args()
    config = override(EngineConfig(prefix_caching=False), "engine", options.set)
    figures = asyncio.run(_measure(config))
    print(json.dumps({"set": options.set, **figures}), flush=True)


async def _measure(config: EngineConfig) -> dict[str, float]:
    began = time.perf_counter()
    async with vllm_server_async(config) as server:
        started = time.perf_counter() - began
        chat = OpenAIChat(server.url, server.model)
        await _tokens(chat, "warm up", 1)

        async def read() -> int:
            total = 0
            for number in range(READS):
                total += (await _tokens(chat, f"{number} " + "word " * WORDS, 1)).prompt
            return total

        async def write() -> int:
            asks = [
                _tokens(chat, f"Tell a story about {number}.", WRITTEN)
                for number in range(config.max_num_seqs)
            ]
            return sum(usage.completion for usage in await asyncio.gather(*asks))

        figures = await _timed("read", server, read) | await _timed("write", server, write)
        await chat.close()
    return {"start_s": round(started, 1), **figures}


async def _timed(
    name: str, server: VllmServer, work: Callable[[], Awaitable[int]]
) -> dict[str, float]:
    wall, used = time.perf_counter(), _processor_s(server)
    tokens = await work()
    wall, used = time.perf_counter() - wall, _processor_s(server) - used
    return {
        f"{name}_tokens": tokens,
        f"{name}_tokens_per_wall_s": round(tokens / wall, 1),
        f"{name}_tokens_per_processor_s": round(tokens / used, 1),
    }


async def _tokens(chat: OpenAIChat, text: str, limit: int) -> Usage:
    try:
        return (await chat.ask(Ask((Message("user", text),), Long, max_tokens=limit))).usage
    except UnreadableAnswer as cut:
        return cut.usage if isinstance(cut.usage, Usage) else Usage()


def _processor_s(server: VllmServer) -> float:
    first = psutil.Process(server.process.pid)
    times: list[Any] = [one.cpu_times() for one in [first, *first.children(recursive=True)]]
    return float(sum(one.user + one.system for one in times))


if __name__ == "__main__":
    main()
