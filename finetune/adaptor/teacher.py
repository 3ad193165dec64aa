"""What the frozen model answers to the full text, asked once: its words, and its hidden states.

Answers come from the engine that serves, in the text form and held to the same schemas. The last hidden
state of every answer token is kept too: the teacher's distribution follows from it exactly.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from foretaste.data.errors import UnreadableAnswer
from foretaste.data.files import read_json, write_json
from foretaste.data.progress import meter
from foretaste.finetune.adaptor.frozen import Frozen
from foretaste.finetune.adaptor.prompts import Prompt
from foretaste.finetune.adaptor.rows import Row
from foretaste.serving.chat import ChatModel
from foretaste.serving.engine import EngineConfig, open_chat
from foretaste.serving.vector_cache import VectorCache

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ANSWERS = "answers.json"
TAUGHT = "taught"  # name of the adapter that is active, in the teacher's engine
_AT_ONCE = 16
_PATIENCE_S = 1800.0  # an ask may wait for all others


class Answers:
    """Answers on disk, so that a stopped run asks no question twice.

    Args:
        folder: of one model with one adapter.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ANSWERS
        self._said: dict[str, dict[str, Any]] = read_json(self._path) if self._path.exists() else {}

    def missing(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        """Those that were never answered."""
        return [one for one in prompts if _key(one) not in self._said]

    def rows(self, prompts: Sequence[Prompt]) -> list[Row | None]:
        """Prompts with their answers; None where nothing was written."""
        found = [self._said[_key(one)] for one in prompts]
        return [
            Row(one.ask.messages, said["text"], one.agent, said["complete"])
            if said["text"].strip()
            else None
            for one, said in zip(prompts, found, strict=True)
        ]

    async def ask(self, prompts: Sequence[Prompt], engine: EngineConfig | ChatModel) -> None:
        """Ask the teacher what is missing, some at a time; each lot is kept when it is done."""
        left = self.missing(prompts)
        if not left:
            return
        async with _opened(engine) as (chat, adapter):
            with meter("Asking the teacher", len(left), "prompts") as progress:
                for start in range(0, len(left), _AT_ONCE):
                    lot = left[start : start + _AT_ONCE]
                    said = await asyncio.gather(*(_said(chat, one, adapter) for one in lot))
                    for prompt, (text, complete) in zip(lot, said, strict=True):
                        self._said[_key(prompt)] = {"text": text, "complete": complete}
                    write_json(self._path, self._said)
                    progress.advance(len(lot))


@asynccontextmanager
async def _opened(engine: EngineConfig | ChatModel) -> AsyncIterator[tuple[ChatModel, str | None]]:
    if not isinstance(engine, EngineConfig):
        yield engine, None
        return
    async with open_chat(engine) as chat:
        yield chat, TAUGHT if engine.adapters else None


async def _said(chat: ChatModel, prompt: Prompt, adapter: str | None) -> tuple[str, bool]:
    """The text that is written, and whether it came to its end."""
    from dataclasses import replace

    ask: Any = replace(prompt.ask, adapter=adapter, deadline_s=_PATIENCE_S)
    try:
        return (await chat.ask(ask)).text, True
    except UnreadableAnswer as cut:  # too long for its room: what is there can be learnt from
        return cut.text, False


def _key(prompt: Prompt) -> str:
    told = "\0".join(turn.text for turn in prompt.ask.messages)
    schema = prompt.ask.schema.model_json_schema()
    whole = f"{told}\0{schema}\0{prompt.ask.max_tokens}"
    return hashlib.sha256(whole.encode()).hexdigest()[:32]


def taught(frozen: Frozen, rows: Sequence[Row], folder: Path) -> list[NDArray[np.float32]]:
    """(answer tokens, width) the teacher's last hidden states of each row, computed once.

    Args:
        frozen: the model.
        rows: prompts with the teacher's own answers.
        folder: where they are kept, of one model with one adapter.
    """
    cache = VectorCache(folder, int(frozen.table.shape[1]))
    found = []
    with meter("Reading the teacher's answers", len(rows), "answers") as progress:
        for row in rows:
            sequence = frozen.sequence(row, text=True)
            told = hashlib.sha256(
                sequence.tokens.tobytes() + b"\0" + sequence.answer.tobytes()
            ).hexdigest()
            keys = [f"{told} {place}" for place in range(len(sequence.answer))]
            states, there = cache.get(keys)
            if not there.all():
                with torch.inference_mode():
                    states = frozen.states([sequence]).float().numpy()
                cache.put(keys, states)
            found.append(states)
            progress.advance()
    return found
