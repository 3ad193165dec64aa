"""Categories that the arbiter may choose from beside the experts' tags."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from foretaste.agents.contexts.context import read
from foretaste.agents.objects import Persona, Request, Tag
from foretaste.agents.reasoning import arbiter, offered
from foretaste.agents.retrieval.tools import Tools
from foretaste.serving.scripted_chat import ScriptedChat


def _offering(tools: Tools, count: int) -> Tools:
    return replace(tools, config=tools.config.model_copy(update={"offered": count, "kept": 3}))


def _persona(*evidence: str) -> Persona:
    return Persona(name="Space", description="", evidence=evidence, source="model")


def test_leaves_are_summed_over_finds_and_the_persons_own_count_too(tools: Tools) -> None:
    reader = read(tools.dataset, Request(history=("fear-1", "fear-2")))
    ranked = offered.ranked_leaves(tools, reader)
    assert {"Horror", "Thriller"} <= set(ranked)
    assert all(
        tools.dataset.categories_of(r)[-1] == name for name, own in ranked.items() for r in own
    )
    taken = {row for own in ranked.values() for row in own}
    assert not taken & set(reader.rows.tolist())


def test_only_so_many_are_offered_and_none_without_personas(tools: Tools) -> None:
    reader = read(tools.dataset, Request(user_id="ann"))
    some = offered.tags(_offering(tools, 2), reader, [_persona("space-1")])
    assert len(some) == 2
    assert offered.tags(_offering(tools, 0), reader, [_persona("space-1")]) == []
    assert offered.tags(_offering(tools, 2), reader, []) == []


def test_an_offered_category_goes_to_the_persona_that_it_is_like(tools: Tools) -> None:
    reader = read(tools.dataset, Request(user_id="ann"))
    people = [_persona("love-1", "love-2"), _persona("fear-1", "fear-2", "fear-3")]
    found = {tag.text: tag.persona for tag in offered.tags(_offering(tools, 9), reader, people)}
    assert found["Thriller"] == 1


def test_a_model_sees_them_first_and_its_order_is_kept(tools: Tools) -> None:
    asked: list[Any] = []

    def answer(ask: Any) -> dict[str, Any]:
        asked.append(ask.messages[-1].text)
        return {"keep": [{"tag": n, "why": "fits"} for n in (3, 1)]}

    own = _offering(tools, 2).with_model(ScriptedChat(answer))
    reader = read(tools.dataset, Request(user_id="ann"))
    proposed = [Tag(text="mars colony", persona=0, reason="so", source="model")]
    verdicts, _ = asyncio.run(arbiter.decide(own, reader, [_persona("space-1")], proposed, 0))
    assert "Chosen next by others: 1. " in asked[0]
    assert "Space: 3. mars colony" in asked[0]
    kept = [one.tag.text for one in verdicts if one.kept]
    assert kept[0] == "mars colony"


def test_without_a_model_nothing_is_offered(tools: Tools) -> None:
    reader = read(tools.dataset, Request(user_id="ann"))
    proposed = [Tag(text="mars colony", persona=0, reason="so", source="fallback")]
    verdicts, _ = asyncio.run(
        arbiter.decide(_offering(tools, 2), reader, [_persona("space-1")], proposed, 0)
    )
    assert [one.tag.text for one in verdicts] == ["mars colony"]
