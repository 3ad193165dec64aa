"""A language model that says what a test tells it to. Stands behind `ChatModel` in tests only."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel

from foretaste.data.errors import EngineError
from foretaste.serving.chat import Answer, Ask, Parsed, Usage
from foretaste.serving.chat_json import read_answer

Scripted = BaseModel | dict[str, Any] | str | Exception


class ScriptedChat:
    """Answers from a list, in order, or from a function of the ask; remembers every ask.

    An answer that is an object or a dict is sent as its JSON, a text as it stands (so that it may
    be unreadable), and an exception is raised.

    Args:
        answers: one answer an ask, or a function that makes one. A list that is used up raises
            `EngineError`.
        delay_s: seconds before each answer; longer than the ask's deadline it is an `EngineError`.
        name: what `ChatModel.name` says.

    Attributes:
        asks: every ask so far, oldest first.
        closed: whether `close` was called.

    >>> class Tag(BaseModel):
    ...     tag: str
    >>> chat = ScriptedChat([{"tag": "space film"}])
    >>> asyncio.run(chat.ask(Ask((), Tag))).parsed.tag
    'space film'
    """

    def __init__(
        self,
        answers: Iterable[Scripted] | Callable[[Ask[Any]], Scripted],
        *,
        delay_s: float = 0.0,
        name: str = "scripted",
    ) -> None:
        self._script = answers if callable(answers) else _in_order(answers)
        self._delay_s, self._name = delay_s, name
        self.asks: list[Ask[Any]] = []
        self.closed = False

    @property
    def name(self) -> str:
        """The name it was given."""
        return self._name

    async def ask(self, ask: Ask[Parsed]) -> Answer[Parsed]:
        """The next scripted answer; usage counts words as tokens."""
        started = time.perf_counter()
        self.asks.append(ask)
        said = self._script(ask)
        await asyncio.sleep(min(self._delay_s, ask.deadline_s))
        if self._delay_s > ask.deadline_s:
            raise EngineError(f"The scripted model gave no answer within {ask.deadline_s:g} s.")
        if isinstance(said, Exception):
            raise said
        text = _text(said)
        usage = Usage(
            prompt=sum(len(turn.text.split()) for turn in ask.messages),
            completion=len(text.split()),
            ms=(time.perf_counter() - started) * 1000,
        )
        return read_answer(ask.schema, text, usage, complete=True)

    async def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


def _in_order(answers: Iterable[Scripted]) -> Callable[[Ask[Any]], Scripted]:
    left = iter(answers)

    def following(ask: Ask[Any]) -> Scripted:
        for answer in left:
            return answer
        raise EngineError("The scripted model has no answers left.")

    return following


def _text(said: BaseModel | dict[str, Any] | str) -> str:
    if isinstance(said, BaseModel):
        return said.model_dump_json()
    return json.dumps(said) if isinstance(said, dict) else said
