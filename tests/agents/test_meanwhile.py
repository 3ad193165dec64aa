"""Work that the model does not wait for is done while it answers, and once a run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foretaste.agents.config import AgentsConfig
from foretaste.agents.running.once import FoundOnce
from foretaste.agents.wording.asking import ask_or_fall_back
from foretaste.agents.wording.schemas import StyleAnswer
from foretaste.data.errors import EngineError
from foretaste.serving.chat import Answer, Message, Usage

SAID = {"tone": "plain", "first": ["relevance"], "avoid": "superlatives"}


class Waiting:
    """Answers once the work beside it is done; never when it is not."""

    name = "waiting"

    def __init__(self, error: Exception | None = None) -> None:
        self.done, self.error = asyncio.Event(), error

    async def ask(self, ask: Any) -> Any:
        await asyncio.wait_for(self.done.wait(), 5)
        if self.error is not None:
            raise self.error
        return Answer(StyleAnswer.model_validate(SAID), "", Usage())

    async def close(self) -> None: ...


async def _asked(model: Waiting | None, log: list[str]) -> str:
    loop = asyncio.get_running_loop()

    def work() -> None:
        log.append("worked")
        if model is not None:
            loop.call_soon_threadsafe(model.done.set)

    made, _ = await ask_or_fall_back(
        model,
        AgentsConfig(),
        node="style",
        label="",
        messages=lambda: (Message("user", "say"),),
        schema=StyleAnswer,
        max_tokens=8,
        check=lambda answer: answer.tone,
        fallback=lambda: "fallback",
        meanwhile=work,
    )
    return made


def test_the_work_is_done_while_the_model_answers() -> None:
    async def run() -> tuple[str, list[str]]:
        log: list[str] = []
        return await _asked(Waiting(), log), log

    assert asyncio.run(run()) == ("plain", ["worked"])


def test_a_dead_engine_is_told_once_the_work_has_ended() -> None:
    async def run() -> None:
        await _asked(Waiting(EngineError("gone")), [])

    with pytest.raises(EngineError, match="gone"):
        asyncio.run(run())


def test_without_a_model_nobody_waits_and_it_is_not_done() -> None:
    log: list[str] = []
    assert asyncio.run(_asked(None, log)) == "fallback"
    assert log == []


def test_what_was_made_in_a_run_is_not_made_again() -> None:
    found, made = FoundOnce(), []
    for _ in range(2):
        assert found.once("it", lambda: made.append(1) or len(made)) == 1
    assert found.once("other", lambda: 7) == 7
