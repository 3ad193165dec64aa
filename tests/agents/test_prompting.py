"""Prompts are filled once, hold data in its place, and change their fingerprint with their words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretaste.agents.contexts.context import read
from foretaste.agents.objects import HistoryEvent, Request
from foretaste.agents.reasoning.planner import history_of, planner_messages
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording import prompting
from foretaste.serving.chat import Entity, Message


def _planner(tools: Tools) -> tuple[Message, ...]:
    reader = read(tools.dataset, Request(user_id="ann"))
    return planner_messages(reader, history_of(tools, reader), 2)


def test_the_planner_reads_numbered_lines_between_the_data_marks(tools: Tools) -> None:
    system, user = _planner(tools)
    assert system.role == "system"
    assert "Person: age 24" in user.text
    assert "2. Mars Colony (1999) (Sci-Fi, Action), rating 4" in user.text
    assert "Find 2 different personas" in user.text
    assert user.text.index("</data>") > user.text.index("Mars Colony")
    assert user.text.count("<data>") == user.text.count("</data>") == 1


@given(st.text(max_size=300))
def test_no_title_leaves_its_line_or_closes_the_data(title: str) -> None:
    line = prompting.event_line(HistoryEvent(item_id="x", title=title))
    assert "\n" not in line
    assert "<" not in line
    assert all(character.isprintable() for character in line)
    assert len(line) <= prompting.TITLE_CHARACTERS


@given(st.text(alphabet="$history{} persona", max_size=60))
def test_a_field_is_never_expanded_again(title: str) -> None:
    _, user = prompting.messages(
        "expert", situation=title, persona="p", evidence="e", tags=3, examples="x"
    )
    assert title in user.text


@pytest.mark.parametrize("agent", prompting.AGENTS)
def test_every_agent_has_its_prompt_with_data_marks_and_an_instruction_last(agent: str) -> None:
    text = prompting.template(agent)
    assert text.count("<data>") == text.count("</data>") >= 1
    assert not text.endswith("</data>")
    assert "@{" not in text, "every shared part stands in its place"


@pytest.mark.parametrize("agent", ["planner", "route_persona", "route_tags", "single"])
def test_all_that_read_the_history_share_its_block(agent: str) -> None:
    block = prompting.template("parts/history")
    assert "$history" in block
    assert prompting.template(agent).startswith(block)


def test_items_are_entities_of_the_prompt_and_read_the_same_written_out(tools: Tools) -> None:
    _, user = _planner(tools)
    found = [part for part in user.parts if not isinstance(part, str)]
    assert found[1] == Entity("space-3", "Mars Colony (1999) (Sci-Fi, Action)")
    assert len(found) == 3
    assert "2. Mars Colony (1999) (Sci-Fi, Action), rating 4, " in user.text


@given(st.text(alphabet="\ue001\ue002\ue003ab$ {}", max_size=40), st.text(max_size=20))
def test_no_title_can_forge_an_entity(title: str, key: str) -> None:
    event = HistoryEvent(item_id=key, title=title, categories=(title,), event=title)
    _, user = prompting.messages(
        "expert",
        situation=prompting.clean(title),
        persona=prompting.clean(title),
        evidence=prompting.event_prompt(event),
        tags=3,
        examples="x",
    )
    entities = [part for part in user.parts if isinstance(part, Entity)]
    assert [entity.key for entity in entities] == [prompting.clean(key)]
    assert prompting.event_line(event).startswith(entities[0].text)
    assert not set("\ue001\ue002\ue003") & set(user.text)


def test_the_fingerprint_is_of_the_words() -> None:
    assert len(prompting.fingerprint()) == 16
    assert prompting.fingerprint() == prompting.fingerprint()
