"""Several servers of one model behind one `ChatModel`: on a CPU two small ones beat a large one.

One vLLM whose threads wait for each other after every layer gains little from a second core; a
second vLLM on it answers twice as many. Asks that begin alike go to the same server as long as it is
not busier than the others, because it has read the beginning already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from zlib import crc32

import psutil

from foretaste.data.errors import EngineUnavailable
from foretaste.serving.arithmetic import usable_cores
from foretaste.serving.chat import Answer, Ask, ChatModel, Parsed
from foretaste.serving.engine_config import EngineConfig
from foretaste.serving.vllm_server import is_cpu_build
from foretaste.serving.vllm_supervisor import SupervisedChat

MOST = 2  # servers unless more are asked for: more were not measured
_BESIDE_GB = 2.5  # memory of a server beside its attention cache, with a small model
_SHARE = 0.6  # of the free memory that servers may take
_BEGINNING = 400  # characters of the last turn that decide where an ask goes
_SLACK = 2  # asks under way that a server may have more than the least busy one


def fitting_replicas(config: EngineConfig, cores: int, free_gb: float) -> int:
    """Servers of one model on a CPU: one a core, at most `MOST`, as many as the memory holds.

    Args:
        config: `replicas` when it is set is taken as it is.
        cores: usable ones.
        free_gb: memory that is free now.

    >>> [fitting_replicas(EngineConfig(), cores, 24) for cores in (1, 2, 64)]
    [1, 2, 2]
    >>> fitting_replicas(EngineConfig(), 2, 8)
    1
    """
    if config.replicas is not None:
        return config.replicas
    room = int(_SHARE * free_gb / (config.kv_cache_gb + _BESIDE_GB))
    return max(1, min(cores, MOST, room))


def usual_replicas(config: EngineConfig) -> int:
    """The same for this machine as it is now; on GPUs one, which takes all it may (`gpu_memory`)."""
    if not is_cpu_build():
        return config.replicas or 1
    return fitting_replicas(config, usable_cores(), psutil.virtual_memory().available / 2**30)


class ReplicatedChat:
    """Asks the server that has read the ask's beginning, or the least busy one.

    Args:
        chats: at least one, of the same model.
    """

    def __init__(self, chats: Sequence[ChatModel]) -> None:
        self._chats = list(chats)
        self._under_way = [0] * len(self._chats)

    @property
    def name(self) -> str:
        """The model's name."""
        return self._chats[0].name

    @property
    def ready(self) -> bool:
        """Whether a server would take an ask now."""
        return any(_ready(chat) for chat in self._chats)

    @property
    def retry_after(self) -> float:
        """Seconds until the first of them should take an ask again."""
        waits = [chat.retry_after for chat in self._chats if isinstance(chat, SupervisedChat)]
        return min(waits, default=1.0)

    async def ask(self, ask: Ask[Parsed]) -> Answer[Parsed]:
        """Answer one question; see `ChatModel.ask`.

        Raises:
            EngineUnavailable: no server runs.
        """
        place = self._place(ask)
        try:
            return await self._asked(place, ask)
        except EngineUnavailable:
            others = [p for p, chat in enumerate(self._chats) if p != place and _ready(chat)]
            if not others:
                raise
            return await self._asked(min(others, key=self._under_way.__getitem__), ask)

    async def close(self) -> None:
        """Close the connections of all."""
        await asyncio.gather(*(chat.close() for chat in self._chats))

    async def _asked(self, place: int, ask: Ask[Parsed]) -> Answer[Parsed]:
        self._under_way[place] += 1
        try:
            return await self._chats[place].ask(ask)
        finally:
            self._under_way[place] -= 1

    def _place(self, ask: Ask[Any]) -> int:
        """Which server an ask goes to."""
        ready = [place for place, chat in enumerate(self._chats) if _ready(chat)]
        among = ready or list(range(len(self._chats)))
        beginning = f"{ask.adapter}\0{ask.messages[-1].text[:_BEGINNING]}"
        usual = among[crc32(beginning.encode("utf-8", "replace")) % len(among)]
        least = min(among, key=self._under_way.__getitem__)
        return least if self._under_way[usual] > self._under_way[least] + _SLACK else usual


def _ready(chat: ChatModel) -> bool:
    return not isinstance(chat, SupervisedChat) or chat.ready
