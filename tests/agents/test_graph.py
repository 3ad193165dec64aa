"""The whole graph: on its fallbacks, with a model that answers well, badly, hostilely or dies."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foretaste.agents.objects import Request
from foretaste.agents.recommend import STARTED, Run, recommend, stream
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording.schemas import (
    ArbiterAnswer,
    ExpertAnswer,
    ExplainerAnswer,
    PlannerAnswer,
    StyleAnswer,
)
from foretaste.data.errors import EngineError, InputError
from foretaste.serving.chat import Ask
from foretaste.serving.index.filters import ItemFilter
from foretaste.serving.scripted_chat import ScriptedChat

KEYS = {
    "user_id",
    "history",
    "personas",
    "tags",
    "recommendations",
    "timings_ms",
    "tokens",
    "fallbacks",
    "versions",
}


def _run(tools: Tools, model: ScriptedChat | None = None, **request: Any) -> dict[str, Any]:
    return asyncio.run(recommend(tools.with_model(model), Request(**request)))


def _good(ask: Ask[Any]) -> dict[str, Any]:
    """A model that does its job for ann: two personas, tags that match, facts only."""
    if ask.schema is PlannerAnswer:
        return {
            "personas": [
                {"name": "Sci-Fi Action", "why": "Star Voyage Mars Colony Sci-Fi", "items": [1, 2]},
                {"name": "Romance Comedy", "why": "Paris Spring Romance", "items": [3]},
            ]
        }
    if ask.schema is ExpertAnswer:
        romance = "Paris Spring" in ask.messages[-1].text
        words = (
            ["romance comedy", "romance drama"] if romance else ["sci-fi action", "moon station"]
        )
        return {"tags": [{"tag": tag, "why": "it fits well"} for tag in words]}
    if ask.schema is ArbiterAnswer:
        return {"keep": [{"tag": n, "why": "close to the person"} for n in (1, 2, 3)]}
    if ask.schema is StyleAnswer:
        return {"tone": "plain", "first": ["clarity"], "avoid": "praise"}
    titles = re.findall(r"^Item \d+: ([^(\n]*)", ask.messages[-1].text, re.MULTILINE)
    return {
        "sentences": [
            {"item": number, "text": f"{title.strip()} is close to what you chose."}
            for number, title in enumerate(titles, 1)
        ]
    }


def test_a_good_model_is_believed(tools: Tools) -> None:
    chat = ScriptedChat(_good)
    result = _run(tools, chat, user_id="ann", n=5)
    assert set(result) >= KEYS
    assert [persona["name"] for persona in result["personas"]] == [
        "Sci-Fi Action",
        "Romance Comedy",
    ]
    assert result["personas"][0]["evidence"] == ("space-1", "space-3")
    assert {tag["text"] for tag in result["tags"] if tag["kept"]} == {
        "sci-fi action",
        "romance comedy",
    }
    reasons = {tag["text"]: tag["reason"] for tag in result["tags"] if not tag["kept"]}
    assert reasons["moon station"] == "finds 100% of the same items as 'sci-fi action'"
    assert all(row["fallbacks"] == 0 for row in result["fallbacks"].values()), result["fallbacks"]
    written = (StyleAnswer, ExplainerAnswer)
    explaining = [ask for ask in chat.asks if issubclass(ask.schema, written)]
    assert len(chat.asks) - len(explaining) == 1 + 2 + 1
    assert 2 <= len(explaining) <= 5, "one guideline, and a call for each persona or channel"
    assert result["tokens"]["total"]["prompt"] > 0
    assert set(result["timings_ms"]) >= {"planner", "expert", "arbiter", "retrieve", "total"}


@pytest.mark.parametrize(
    "answer",
    ["not json", {"personas": []}, {"other": 1}, '{"personas": [{"name": "x'],
)
def test_an_unusable_answer_is_counted_and_replaced(tools: Tools, answer: Any) -> None:
    result = _run(tools, ScriptedChat(lambda ask: answer), user_id="ann", n=5)
    for node in ("planner", "expert", "arbiter", "explainer"):
        row = result["fallbacks"][node]
        assert row["fallbacks"] == row["calls"] == len(row["reasons"]) > 0
    assert result["tokens"]["planner"]["completion"] > 0, (
        "tokens of a bad answer count all the same"
    )
    assert len(result["recommendations"]) == 5
    assert all(one["explanation"] for one in result["recommendations"])


def test_an_invented_fact_is_replaced(tools: Tools) -> None:
    def lies(ask: Ask[Any]) -> Any:
        said = _good(ask)
        for one in said.get("sentences", []):
            one["text"] = "It won 11 Oscars in the year of the comet."
        return said

    result = _run(tools, ScriptedChat(lies), user_id="ann", n=3)
    assert {one["explained_by"] for one in result["recommendations"]} == {"fallback"}
    assert result["fallbacks"]["explainer"]["fallbacks"] > 0
    assert "Oscars" not in str(result["recommendations"])


def test_a_persona_that_does_not_hold_is_dropped_alone(tools: Tools) -> None:
    def invents(ask: Ask[Any]) -> Any:
        said = _good(ask)
        if ask.schema is PlannerAnswer:
            said["personas"][0]["items"] = [77]
        return said

    result = _run(tools, ScriptedChat(invents), user_id="ann", n=3)
    assert result["fallbacks"]["planner"]["fallbacks"] == 0
    assert result["personas"][0]["name"] == "Romance Comedy"
    assert [one["source"] for one in result["personas"]] == ["model", "fallback"]


@pytest.mark.parametrize("items", [[77], [3]])  # no line of the history, and a film of another kind
def test_an_answer_of_which_no_persona_holds_is_replaced(tools: Tools, items: list[int]) -> None:
    def invents(ask: Ask[Any]) -> Any:
        said = _good(ask)
        if ask.schema is PlannerAnswer:
            said["personas"] = [one | {"items": items} for one in said["personas"][:1]]
        return said

    result = _run(tools, ScriptedChat(invents), user_id="ann", n=3)
    assert "none of 1 personas holds" in result["fallbacks"]["planner"]["reasons"][0]
    assert {persona["source"] for persona in result["personas"]} == {"fallback"}


def test_a_dead_engine_is_not_a_wrong_answer(tools: Tools) -> None:
    with pytest.raises(EngineError, match="gone"):
        _run(tools, ScriptedChat(lambda ask: EngineError("gone")), user_id="ann")


def test_the_experts_run_at_once(tools: Tools) -> None:
    started: list[str] = []

    class Waiting(ScriptedChat):
        async def ask(self, ask: Ask[Any]) -> Any:
            if ask.schema is ExpertAnswer:
                started.append("expert")
                await asyncio.wait_for(_until(lambda: len(started) == 2), 5)
            return await super().ask(ask)

    async def _until(ready: Any) -> None:
        while not ready():
            await asyncio.sleep(0.01)

    result = _run(tools, Waiting(_good), user_id="ann", n=3)
    assert result["fallbacks"]["expert"]["fallbacks"] == 0


@pytest.mark.parametrize(
    "request_",
    [
        {"user_id": "new"},
        {"wish": "a horror thriller"},
        {"user_id": "new", "wish": "a horror thriller"},
        {"history": ("fear-1",)},
        {"history": ()},
    ],
)
def test_a_cold_start_gets_a_full_page(tools: Tools, request_: dict[str, Any]) -> None:
    result = _run(tools, None, n=4, **request_)
    assert len(result["recommendations"]) == 4
    if "wish" in request_:
        assert result["recommendations"][0]["item_id"] in {"fear-2", "fear-3"}


def test_nodes_are_streamed_in_order(tools: Tools) -> None:
    async def nodes() -> list[str]:
        events = stream(tools, Request(user_id="ann"), Run())
        return [node async for node, _ in events if node != STARTED]

    seen = asyncio.run(nodes())
    assert seen[:2] == ["context", "planner"]
    assert seen[-4:] == ["arbiter", "retrieve", "rank", "explain"]
    assert set(seen[2:-4]) == {"expert"}


def test_filters_hold_whatever_the_model_says(tools: Tools) -> None:
    result = _run(
        tools, ScriptedChat(_good), user_id="ann", n=10, filters=ItemFilter(categories=("Romance",))
    )
    assert {one["item_id"] for one in result["recommendations"]} == {"love-2", "love-3", "love-4"}


def test_a_hostile_title_changes_nothing_but_its_own_line(tools: Tools) -> None:
    """With the item removed from the catalogue the others stand in the same order."""
    with_it = _run(tools, None, user_id="ann", n=8)
    without = _run(tools, None, user_id="ann", n=8, filters=ItemFilter(deny=("odd-1",)))
    order = [one["item_id"] for one in with_it["recommendations"] if one["item_id"] != "odd-1"]
    assert order == [one["item_id"] for one in without["recommendations"]][: len(order)]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    history=st.lists(
        st.sampled_from(["space-1", "space-2", "love-1", "fear-1", "odd-1"]), max_size=6
    ),
    n=st.integers(1, 15),
    consumed=st.booleans(),
    text=st.text(max_size=80),
)
def test_every_page_is_real_allowed_and_unrepeated(
    tools: Tools, history: list[str], n: int, consumed: bool, text: str
) -> None:
    chat = ScriptedChat(lambda ask: text)
    tools = replace(tools, model=chat)
    request = Request(history=tuple(history), n=n, include_consumed=consumed, wish=text or None)
    result = asyncio.run(recommend(tools, request))
    page = [one["item_id"] for one in result["recommendations"]]
    assert set(page) <= set(tools.dataset.item_ids)
    assert len(page) == len(set(page))
    assert consumed or not set(page) & set(history)
    assert len(page) == min(n, 12 - (0 if consumed else len(set(history))))


def test_an_unknown_user_is_said_before_anything_runs(tools: Tools) -> None:
    chat = ScriptedChat(_good)
    with pytest.raises(InputError, match="'nobody'"):
        _run(tools, chat, user_id="nobody")
    assert chat.asks == []
