"""The ways to the tags beside the hierarchy, and what every way holds to."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from foretaste.agents.contexts.context import read
from foretaste.agents.objects import Mode, Request, Tag
from foretaste.agents.reasoning import checks, expert, modes
from foretaste.agents.reasoning.routes import ANGLES
from foretaste.agents.recommend import recommend
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording.lexicon import words
from foretaste.agents.wording.schemas import (
    ArbiterAnswer,
    ExpertAnswer,
    PersonaAnswer,
    PlannerAnswer,
    SingleAnswer,
)
from foretaste.serving.chat import Ask
from foretaste.serving.scripted_chat import ScriptedChat

MODES = get_args(Mode)
SPACE = {"name": "Sci-Fi Action", "why": "Star Voyage Mars Colony Sci-Fi", "items": [1, 2]}
TAGS = ["sci-fi action", "romance drama", "horror thriller"]


def _said(ask: Ask[Any]) -> dict[str, Any]:
    if ask.schema is PlannerAnswer:
        return {"personas": [SPACE]}
    if ask.schema is PersonaAnswer:
        return dict(SPACE)
    if ask.schema is SingleAnswer:
        return {"tags": [{"tag": tag, "why": "it fits", "persona": tag.split()[0]} for tag in TAGS]}
    if ask.schema is ExpertAnswer:
        return {"tags": [{"tag": tag, "why": "it fits"} for tag in TAGS]}
    if ask.schema is ArbiterAnswer:
        return {"keep": [{"tag": 1, "why": "close"}, {"tag": 2, "why": "close"}]}
    return {}


def _run(tools: Tools, chat: ScriptedChat | None, mode: Mode, **request: Any) -> dict[str, Any]:
    asked = {"user_id": "ann"} | request
    call = Request(mode=mode, n=4, explain=False, **asked)
    return asyncio.run(recommend(tools.with_model(chat), call))


def test_every_route_reads_the_whole_history_twice_and_nobody_compares(tools: Tools) -> None:
    chat = ScriptedChat(_said)
    result = _run(tools, chat, "routes")
    assert [ask.schema for ask in chat.asks].count(PersonaAnswer) == len(ANGLES) == 5
    assert [ask.schema for ask in chat.asks].count(ExpertAnswer) == 5
    assert len(chat.asks) == 10
    assert all("Mars Colony (1999)" in ask.messages[1].text for ask in chat.asks)
    assert len(result["personas"]) == 5
    kept = [tag for tag in result["tags"] if tag["kept"]]
    assert len(kept) == 15, "the lists are united as they are"
    assert {tag["persona"] for tag in kept} == set(range(5))
    assert all(row["fallbacks"] == 0 for row in result["fallbacks"].values()), result["fallbacks"]


def test_the_hierarchy_reads_the_history_once(tools: Tools) -> None:
    chat = ScriptedChat(_said)
    _run(tools, chat, "hierarchical")
    readers = [ask for ask in chat.asks if "Mars Colony (1999)" in ask.messages[1].text]
    assert [ask.schema for ask in readers] == [PlannerAnswer]
    assert len(chat.asks) == 3


def test_one_prompt_gives_tags_with_the_names_of_their_personas(tools: Tools) -> None:
    chat = ScriptedChat(_said)
    result = _run(tools, chat, "single")
    assert len(chat.asks) == 1
    assert [persona["name"] for persona in result["personas"]] == ["sci-fi", "romance", "horror"]
    assert [(tag["text"], tag["persona"]) for tag in result["tags"]] == [
        ("sci-fi action", 0),
        ("romance drama", 1),
        ("horror thriller", 2),
    ]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("history", [("space-1", "space-2", "love-1", "fear-1"), ("fear-1",), ()])
def test_without_a_model_a_mode_is_what_its_twins_make(
    tools: Tools, mode: Mode, history: tuple[str, ...]
) -> None:
    result = _run(tools, None, mode, user_id=None, history=history)
    assert len(result["recommendations"]) == 4
    reader = read(tools.dataset, Request(history=history))
    personas, verdicts = modes.grounded(tools, reader, mode)
    assert [one.model_dump() for one in personas] == result["personas"]
    assert [(one.tag.text, one.kept, one.reason) for one in verdicts] == [
        (tag["text"], tag["kept"], tag["reason"]) for tag in result["tags"]
    ]


@pytest.mark.parametrize("mode", MODES)
def test_an_unusable_answer_is_replaced_in_every_mode(tools: Tools, mode: Mode) -> None:
    result = _run(tools, ScriptedChat(lambda ask: "nothing"), mode)
    assert all(row["fallbacks"] == row["calls"] > 0 for row in result["fallbacks"].values())
    assert len(result["recommendations"]) == 4


def test_every_agent_has_an_adapter_of_its_own_or_the_common_one(tools: Tools) -> None:
    config = tools.config.model_copy(update={"adapter": "all", "expert_adapter": "tags"})
    chat = ScriptedChat(_said)
    for mode in MODES:
        _run(replace(tools, config=config), chat, mode)
    used = {(ask.schema, ask.adapter) for ask in chat.asks}
    assert used == {
        (PlannerAnswer, "all"),
        (ExpertAnswer, "tags"),
        (ArbiterAnswer, "all"),
        (PersonaAnswer, "all"),
        (SingleAnswer, "all"),
    }


def test_dropped_tags_stay_in_the_record_with_their_reasons(tools: Tools) -> None:
    def says(ask: Ask[Any]) -> Any:
        if ask.schema is ExpertAnswer:
            texts = ["star voyage", "sci-fi action", "quantum cooking", "romance drama"]
            return {"tags": [{"tag": text, "why": "it fits"} for text in texts]}
        return _said(ask)

    result = _run(tools, ScriptedChat(says), "hierarchical")
    reasons = {tag["text"]: tag["reason"] for tag in result["tags"] if not tag["kept"]}
    assert "only repeats the recent choice" in reasons["star voyage"]
    assert "matches nothing in the catalogue" in reasons["quantum cooking"]


def test_a_tag_repeats_an_item_whose_title_says_it_or_that_alone_fits_it_best(
    tools: Tools,
) -> None:
    rows = tools.dataset.rows(["space-3", "love-1"])

    def repeated(text: str, recent: list[int]) -> list[str]:
        carried = tools.lexicon.carried(text)
        return checks.repeated_item(words(text), carried, tools.lexicon, recent)

    assert repeated("mars colony", rows) == ["1999", "colony", "mars"]
    assert repeated("paris romance", rows), "no other item carries both words"
    assert repeated("sci-fi action", rows) == [], "another item carries as many"
    assert repeated("mars colony", []) == []


def test_what_was_only_viewed_may_be_proposed_again(tools: Tools) -> None:
    reader = read(tools.dataset, Request(user_id="ann"))
    assert expert.recent_rows(tools, reader) == tools.dataset.rows(["love-1", "space-3", "space-1"])
    events = reader.context.events
    viewed = tuple(one.model_copy(update={"event": "view"}) for one in events[:2])
    mixed = reader.context.model_copy(update={"events": (*viewed, events[2])})
    one_left = replace(reader, context=mixed)
    assert expert.recent_rows(tools, one_left) == tools.dataset.rows(["love-1"])


def test_no_two_kept_tags_of_a_model_find_the_same_items(tools: Tools) -> None:
    """A catalogue large enough that what a tag finds is a part of it."""
    from foretaste.agents.reasoning import arbiter

    reader = read(tools.dataset, Request(history=("space-1",)))
    narrow = replace(tools, config=tools.config.model_copy(update={"kept": 2, "tag_depth": 2}))
    texts = ["romance drama", "drama romance", "horror thriller"]
    tags = [Tag(text=text, persona=0, reason="r", source="model") for text in texts]
    answer = ArbiterAnswer.model_validate(
        {"keep": [{"tag": n, "why": "because"} for n in (1, 2, 3)][:2]}
    )
    verdicts = arbiter.checked(answer, narrow, reader, tags)
    assert [one.kept for one in verdicts] == [True, False, False]
    assert verdicts[1].reason == "finds 100% of the same items as 'romance drama'"
    assert verdicts[1].source == "fallback"
    assert np.isfinite(arbiter.taste(narrow, reader)).all()
