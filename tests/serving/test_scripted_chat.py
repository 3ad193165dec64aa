from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel

from foretaste.data.errors import EngineError, UnreadableAnswer
from foretaste.serving.chat import Ask, Message
from foretaste.serving.scripted_chat import ScriptedChat


class Tag(BaseModel):
    tag: str


ASK = Ask((Message("user", "one two three"),), Tag, deadline_s=5)


def test_answers_come_in_order_and_asks_are_remembered() -> None:
    chat = ScriptedChat([Tag(tag="a"), {"tag": "b"}, '{"tag": "c d"}'])
    answers = [asyncio.run(chat.ask(ASK)) for _ in range(3)]
    assert [answer.parsed.tag for answer in answers] == ["a", "b", "c d"]
    assert answers[0].usage.prompt == 3
    assert answers[2].usage.completion == 3
    assert chat.asks == [ASK] * 3


def test_a_function_sees_the_ask() -> None:
    chat = ScriptedChat(lambda ask: {"tag": ask.messages[0].content[:3]})
    assert asyncio.run(chat.ask(ASK)).parsed.tag == "one"


def test_it_can_fail_be_unreadable_be_late_and_run_out() -> None:
    with pytest.raises(UnreadableAnswer):
        asyncio.run(ScriptedChat(["noise"]).ask(ASK))
    with pytest.raises(EngineError, match="dead"):
        asyncio.run(ScriptedChat([EngineError("dead")]).ask(ASK))
    late = Ask(ASK.messages, Tag, deadline_s=0.01)
    with pytest.raises(EngineError, match=r"within 0.01 s"):
        asyncio.run(ScriptedChat([{"tag": "a"}], delay_s=1).ask(late))
    with pytest.raises(EngineError, match="no answers left"):
        asyncio.run(ScriptedChat([]).ask(ASK))


def test_close_is_remembered() -> None:
    chat = ScriptedChat([], name="n")
    asyncio.run(chat.close())
    assert chat.closed
    assert chat.name == "n"
