"""An answer that holds in part: what does not hold goes, the rest is used and the record says so."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from foretaste.agents.contexts.context import read
from foretaste.agents.objects import Persona, Request
from foretaste.agents.reasoning import expert, planner
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording.asking import CheckFailed
from foretaste.agents.wording.schemas import PersonaAnswer
from foretaste.serving.chat import Ask
from foretaste.serving.scripted_chat import ScriptedChat

SIDE = Persona(name="Space", description="", evidence=("space-1", "space-3"), source="model")
SPACE = {"name": "Sci-Fi Action", "why": "Star Voyage Mars Colony Sci-Fi", "items": [1, 2]}
LOVE = {"name": "Romance Comedy", "why": "Paris Spring Romance", "items": [3]}


def _tags(*texts: str) -> dict[str, Any]:
    return {"tags": [{"tag": text, "why": "it fits"} for text in texts]}


def _proposed(tools: Tools, least: int, *texts: str) -> Any:
    chat = ScriptedChat(lambda ask: _tags(*texts))
    config = tools.config.model_copy(update={"min_tags": least})
    tools = replace(tools, config=config).with_model(chat)
    reader = read(tools.dataset, Request(user_id="ann"))
    return asyncio.run(expert.propose(tools, reader, SIDE, 0, 0))


def test_too_few_tags_are_completed_by_grounded_ones(tools: Tools) -> None:
    proposal, (step,) = _proposed(tools, 2, "sci-fi action", "quantum cooking")
    assert [tag.source for tag in proposal.tags] == ["model", "fallback"]
    assert proposal.tags[0].text == "sci-fi action"
    assert step.fallback is None
    assert step.repaired == "1 valid tags, 1 added"
    assert [verdict.tag.text for verdict in proposal.dropped] == ["quantum cooking"]


def test_enough_tags_are_left_as_they_are(tools: Tools) -> None:
    proposal, (step,) = _proposed(tools, 2, "sci-fi action", "romance drama", "quantum cooking")
    assert [tag.text for tag in proposal.tags] == ["sci-fi action", "romance drama"]
    assert (step.fallback, step.repaired) == (None, None)


def test_fewer_than_half_of_the_tags_are_no_answer(tools: Tools) -> None:
    proposal, (step,) = _proposed(tools, 3, "sci-fi action", "quantum cooking", "action sci-fi")
    assert {tag.source for tag in proposal.tags} == {"fallback"}
    assert "1 valid tags" in step.fallback
    assert step.repaired is None


def _planned(tools: Tools, *personas: dict[str, Any]) -> Any:
    chat = ScriptedChat(lambda ask: {"personas": list(personas)})
    reader = read(tools.dataset, Request(user_id="ann"))
    personas_, (step,) = asyncio.run(planner.plan(tools.with_model(chat), reader, 0))
    return personas_, step, chat


@pytest.mark.parametrize("wrong", [{"items": [77]}, {"items": [3]}])
def test_only_the_persona_that_does_not_hold_is_dropped(tools: Tools, wrong: Any) -> None:
    personas, step, _ = _planned(tools, SPACE | wrong, LOVE)
    assert [one.source for one in personas] == ["model", "fallback"]
    assert personas[0].name == "Romance Comedy"
    assert personas[1].evidence == ("space-3", "space-1"), "the side that was left"
    assert step.fallback is None
    assert step.repaired.startswith("1 of 2 personas dropped, 1 added; persona 'Sci-Fi Action'")


def test_no_persona_left_is_no_answer(tools: Tools) -> None:
    personas, step, _ = _planned(tools, SPACE | {"items": [3]}, LOVE | {"items": [77]})
    assert {one.source for one in personas} == {"fallback"}
    assert step.fallback.startswith("none of 2 personas holds")


def test_a_persona_said_twice_counts_once(tools: Tools) -> None:
    personas, step, _ = _planned(tools, SPACE, SPACE)
    assert [one.name for one in personas] == ["Sci-Fi Action"]
    assert (step.fallback, step.repaired) == (None, None)


def test_there_is_room_for_more_personas_than_were_asked_for(tools: Tools) -> None:
    """A small model tells of as many as it likes; an answer that is cut off is lost as a whole."""
    most = tools.config.personas
    (ask,) = _planned(tools, SPACE)[2].asks
    assert ask.schema.model_json_schema()["properties"]["personas"]["maxItems"] == most
    assert ask.max_tokens >= most * planner.TOKENS_EACH


def test_a_training_row_must_hold_in_every_part(tools: Tools) -> None:
    """What a server may repair, a model must not learn."""
    reader = read(tools.dataset, Request(user_id="ann"))
    history = planner.history_of(tools, reader)
    answers = [PersonaAnswer.model_validate(one) for one in (SPACE | {"items": [3]}, LOVE)]
    assert [one.name for one in planner.sifted(answers, history, tools)[0]] == ["Romance Comedy"]
    with pytest.raises(CheckFailed, match="not about the items"):
        planner.checked(answers, history, tools)


def test_the_same_prompt_is_asked_whatever_is_repaired(tools: Tools) -> None:
    asks: list[Ask[Any]] = []
    for personas in ((SPACE, LOVE), (SPACE | {"items": [77]}, LOVE)):
        asks += _planned(tools, *personas)[2].asks
    assert asks[0].messages == asks[1].messages


def _asked_again(tools: Tools, retries: int, *answers: dict[str, Any]) -> Any:
    told, left = list[tuple[float, int]](), list(answers)

    def answer(ask: Ask[Any]) -> dict[str, Any]:
        told.append((ask.temperature, ask.seed))
        return left.pop(0)

    config = tools.config.model_copy(update={"min_tags": 2, "retries": retries})
    tools = replace(tools, config=config).with_model(ScriptedChat(answer))
    reader = read(tools.dataset, Request(user_id="ann"))
    proposal, (step,) = asyncio.run(expert.propose(tools, reader, SIDE, 0, 7))
    return proposal, step, told


def test_an_answer_that_fails_is_asked_for_again_by_sampling(tools: Tools) -> None:
    good = _tags("sci-fi action", "romance drama")
    proposal, step, told = _asked_again(tools, 1, _tags("quantum cooking"), good)
    assert {tag.source for tag in proposal.tags} == {"model"}
    assert (step.asks, step.fallback) == (2, None)
    assert told == [(0.0, 7), (0.6, 8)]
    once = _asked_again(tools, 1, good)[1]
    assert once.asks == 1
    assert step.prompt == 2 * once.prompt > 0


def test_after_the_last_try_the_twin_stands_in(tools: Tools) -> None:
    bad = _tags("quantum cooking")
    proposal, step, told = _asked_again(tools, 2, bad, bad, bad)
    assert {tag.source for tag in proposal.tags} == {"fallback"}
    assert (step.asks, len(told)) == (3, 3)
    assert "0 valid tags" in step.fallback
    assert _asked_again(tools, 0, bad)[1].asks == 1
