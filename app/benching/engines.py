"""(a) Users per minute through the graph, and (c) what reading a prompt costs in either form."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from foretaste.agents.objects import Request
from foretaste.agents.recommend import recommend
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording import prompting
from foretaste.data.dataset import Dataset
from foretaste.data.errors import UnreadableAnswer
from foretaste.data.progress import meter
from foretaste.serving.chat import Ask, ChatModel, Entity, Message, Part, Usage, entities_of
from foretaste.serving.embedder import Embedder, fingerprint_of
from foretaste.serving.engine import EngineConfig, open_chat
from foretaste.serving.hybrid_adaptor import Adaptor, Belongs
from foretaste.serving.hybrid_chat import AdaptedEntities, HybridChat
from foretaste.serving.hybrid_prompt import PromptWriter
from foretaste.serving.openai_chat import OpenAIChat
from foretaste.serving.store import model_folder
from foretaste.serving.vllm_server import vllm_server_async

HISTORIES = (20, 50, 100, 200)
PATIENCE_S = 1800.0  # an ask of a batch may wait for all others
_REPEATS = 7
_HIDDEN = 512  # of the adaptor whose vectors are timed; their values change no time
_DECODED = 64  # tokens of each of the answers that decoding is timed with


class Long(BaseModel):
    """An answer that is as long as its limit of tokens."""

    text: str = Field(min_length=1000, max_length=4000)


async def users_per_minute(
    tools: Tools, engine: EngineConfig, users: Sequence[str], *, at_once: bool
) -> float:
    """Whole recommendations a minute on one engine, its start not counted.

    Args:
        tools: with `config.deadline_s` long enough for the queue.
        engine: what answers.
        users: whom to recommend to.
        at_once: all together, or one after another.
    """
    async with open_chat(engine) as chat:
        ready = tools.with_model(chat)
        await recommend(ready, Request(user_id=users[0], n=1))  # warm: weights, grammars
        start = time.perf_counter()
        with meter(f"Users on {engine.engine}", len(users), "users") as progress:

            async def one(user: str) -> None:
                await recommend(ready, Request(user_id=user))
                progress.advance()

            if at_once:
                await asyncio.gather(*(one(user) for user in users))
            else:
                for user in users:
                    await one(user)
        return 60 * len(users) / (time.perf_counter() - start)


async def reading(engine: EngineConfig, dataset: Dataset, embedder: Embedder) -> dict[str, Any]:
    """Prefill of both forms at every history length, and tokens decoded a second, on one vLLM.

    Returns:
        `prefill`: rows with history, text_tokens, hybrid_tokens, text_s, hybrid_s (medians; the
        entities' vectors are in their cache);
        `decode_tokens_s`: of `engine.max_num_seqs` answers at once.
    """
    config = engine.model_copy(update={"prompt_embeds": True, "prefix_caching": False})
    folder = model_folder(config.model)
    writer = PromptWriter(folder)
    vectors = _untrained(folder, config, embedder, writer.width)
    async with vllm_server_async(config) as server:
        text = OpenAIChat(server.url, server.model)
        hybrid = HybridChat(server.url, server.model, writer, vectors)
        rows = []
        for history in HISTORIES:
            prompts = [_prompt(dataset, history, seed) for seed in range(_REPEATS + 1)]
            for prompt in prompts:  # as in serving: a catalogue's vectors are made once
                await asyncio.to_thread(vectors, entities_of(prompt))
            rows.append(await _both(history, prompts, text, hybrid))
        decoded = await _decode(text, config.max_num_seqs)
        await text.close()
        await hybrid.close()
    return {"prefill": rows, "decode_tokens_s": round(decoded, 1)}


def _untrained(
    folder: Path, config: EngineConfig, embedder: Embedder, width: int
) -> AdaptedEntities:
    belongs = Belongs(
        embedder=embedder.name,
        embedder_fingerprint=embedder.fingerprint,
        model=config.model,
        model_fingerprint=fingerprint_of(folder),
    )
    sizes = (embedder.dimension, _HIDDEN, width)
    return AdaptedEntities(Adaptor.untrained(sizes, belongs), embedder)


async def _both(
    history: int, prompts: list[tuple[Message, ...]], text: ChatModel, hybrid: ChatModel
) -> dict[str, Any]:
    """One row: the two forms in turn, so that whoever else uses the machine slows both."""
    used: dict[str, list[Usage]] = {"text": [], "hybrid": []}
    for prompt in prompts:
        for form, chat in (("text", text), ("hybrid", hybrid)):
            used[form].append(await _read_only(chat, prompt))
    row: dict[str, Any] = {"history": history}
    for form, costs in used.items():  # the first is warm-up
        row[f"{form}_tokens"] = round(statistics.median(one.prompt for one in costs[1:]))
        row[f"{form}_s"] = round(statistics.median(one.ms for one in costs[1:]) / 1000, 4)
    return row


async def _read_only(chat: ChatModel, prompt: tuple[Message, ...]) -> Usage:
    """What one call costs that may write a single token."""
    try:
        return (await chat.ask(Ask(prompt, Long, max_tokens=1))).usage
    except UnreadableAnswer as cut:
        return cut.usage if isinstance(cut.usage, Usage) else Usage()


async def _decode(chat: ChatModel, together: int) -> float:
    prompts = [(Message("user", f"Tell a story about the number {n}."),) for n in range(together)]
    asks = [Ask(prompt, Long, max_tokens=_DECODED) for prompt in prompts]

    async def one(ask: Ask[Long]) -> int:
        try:
            return (await chat.ask(ask)).usage.completion
        except UnreadableAnswer as cut:
            return cut.usage.completion if isinstance(cut.usage, Usage) else 0

    await one(asks[0])  # compiles the grammar
    start = time.perf_counter()
    written = sum(await asyncio.gather(*(one(ask) for ask in asks)))
    return written / (time.perf_counter() - start)


def _prompt(dataset: Dataset, history: int, seed: int) -> tuple[Message, ...]:
    """A question about `history` real items, a line each, other ones for each seed."""
    count = len(dataset.titles)
    rows = [(place * 7 + seed * 1009) % count for place in range(history)]
    parts: list[Part] = ["<data>\nWhat the person chose, oldest first:\n"]
    for number, row in enumerate(rows, 1):
        categories = ", ".join(dataset.categories_of(row)[:4])
        name = prompting.clean(dataset.titles[row])
        text = f"{name} ({prompting.clean(categories)})" if categories else name
        parts += [f"{number}. ", Entity(dataset.item_ids[row], text), ", rating 4\n"]
    parts.append("</data>\nFind three different personas in these choices.")
    return (Message("system", prompting.template("system")), Message("user", tuple(parts)))
