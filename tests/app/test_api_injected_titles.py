"""Titles that want to be more than titles: each changes its own line and nothing else.

`injected_titles.txt` holds one JSON string a line.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from foretaste.agents.contexts.compression import short_title
from foretaste.agents.objects import Request
from foretaste.agents.recommend import recommend
from foretaste.agents.wording.prompting import clean
from foretaste.serving.chat import Ask
from foretaste.serving.scripted_chat import ScriptedChat

TITLES = [
    json.loads(line)
    for line in (Path(__file__).parent / "injected_titles.txt").read_text().splitlines()
]
PLAIN = "Quiet Harbour (1990)"
#: In relevance: the hostile item may stand a little higher or lower in a channel, as under any other
#: title, and those it passes then stand one place lower or higher there.
_MOVED = 0.001
_LINES = (  # how the lines of an explainer's prompt begin
    "<data>",
    "Style: ",
    "Item ",
    "The person chose: ",
    "Both are: ",
    "Found because of: ",
    "Wrong last time: ",
    "</data>",
    "Write one short sentence in English",
)


def _run(
    films_over: Any, item_id: str, title: str, **wanted: Any
) -> tuple[dict[str, Any], list[Any]]:
    """The result, and every prompt that was written for it, in a steady order."""
    chat = ScriptedChat(lambda ask: {"nothing": "useful"})
    tools = films_over(item_id, title).with_model(chat)
    made = asyncio.run(recommend(tools, Request(user_id="ann", n=9, **wanted)))
    return made, [ask.messages for ask in chat.asks]


_KEPT: dict[str, tuple[dict[str, Any], list[Any]]] = {}


def _plain(films_over: Any, item_id: str) -> tuple[dict[str, Any], list[Any]]:
    """The same with a plain title, run once for all titles."""
    if item_id not in _KEPT:
        _KEPT[item_id] = _run(films_over, item_id, PLAIN)
    return _KEPT[item_id]


def _explaining(prompts: list[Any]) -> str:
    """The prompts of explanations as one text: which items share a call is for the run to say."""
    return "\n".join(one[1].text for one in prompts if "\nItem 1: " in one[1].text)


def _items(prompts: list[Any]) -> list[str]:
    """The lines that name an item to explain, without its number, each once, in a steady order."""
    return sorted(set(re.findall(r"^Item \d+: (.*)$", _explaining(prompts), re.MULTILINE)))


_OF_TAGS = (
    r"(?!Persona: |Chose: ).+: \d+\. .*|Choose .*\d+ .*by number.*"
    r"|Found because of: .*|For example: .*"
)


def _lines(messages: Any) -> list[str]:
    """The lines of a prompt, without those that the tags of a run stand in.

    Words of a title may become a tag, as words of any title may.
    """
    return [line for line in messages[1].text.split("\n") if not re.fullmatch(_OF_TAGS, line)]


@pytest.mark.parametrize("title", TITLES, ids=range(len(TITLES)))
def test_in_a_history_it_is_one_line_of_data(films_over: Any, title: str) -> None:
    _, plain = _plain(films_over, "love-1")
    _, prompts = _run(films_over, "love-1", title)
    shown = clean(title) or "love-1"
    before = [
        [one for one in asked if "\nItem 1: " not in one[1].text] for asked in (plain, prompts)
    ]
    assert len(before[0]) == len(before[1])
    assert _items(prompts) == _items(plain), "the items to explain are called what they were"
    for line in _explaining(prompts).split("\n"):
        assert line.startswith(_LINES), "every line is one of ours"
    for messages in prompts:
        assert messages[0] == plain[0][0], "the system's words are our own"
        assert messages[1].text.count("<data>") == messages[1].text.count("</data>") == 1
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", messages[1].text)
    for others, messages in zip(*before, strict=True):
        ours, theirs = _lines(messages), _lines(others)
        assert len(ours) == len(theirs), "no line more, no line less"
        for line, other in zip(ours, theirs, strict=True):
            if line != other:
                assert short_title(PLAIN) in other, "only lines that told the plain title differ"
                assert any(name in line for name in (shown[:40], short_title(title), "love-1"))


@pytest.mark.parametrize("title", TITLES, ids=range(len(TITLES)))
def test_among_the_candidates_it_moves_nobody_and_speaks_for_nobody(
    films_over: Any, title: str
) -> None:
    plain, _ = _plain(films_over, "odd-1")
    made, _ = _run(films_over, "odd-1", title)

    def others(result: dict[str, Any]) -> list[tuple[str, str, str]]:
        return [
            (one["item_id"], one["title"], one["explanation"])
            for one in result["recommendations"]
            if one["item_id"] != "odd-1"
        ]

    assert others(made) == others(plain)
    assert made["personas"] == plain["personas"]
    assert [tag["text"] for tag in made["tags"]] == [tag["text"] for tag in plain["tags"]]
    assert made["history"] == plain["history"]


@pytest.mark.timeout(1800)
def test_over_many_runs_a_title_changes_nothing_but_its_own_place(films_over: Any) -> None:
    runs = int(os.environ.get("INJECTION_RUNS", "12"))
    users, plain = ("ann", "bob", "cat"), films_over("odd-1", PLAIN)
    kept: dict[tuple[str, int], dict[str, float]] = {}
    for number in range(runs):
        title = TITLES[number % len(TITLES)]
        user, n = users[number // len(TITLES) % len(users)], 3 + number % 7
        asked = Request(user_id=user, n=n)
        if (user, n) not in kept:
            kept[user, n] = _scores(plain, asked)
        before, after = kept[user, n], _scores(films_over("odd-1", title), asked)
        held = min(len(before), len(after))  # a page holds n, with or without the hostile item
        assert abs(len(before) - len(after)) <= 1
        assert set(list(after)[:held]) == set(list(before)[:held]), (user, n, title)
        moved = max(abs(after[one] - before[one]) for one in after if one in before)
        assert moved <= _MOVED, (user, n, title, moved)


def _scores(tools: Any, asked: Request) -> dict[str, float]:
    """The relevance of each item of the page, in its order, without the hostile item."""
    chat = ScriptedChat(lambda ask: {"nothing": "useful"})
    made = asyncio.run(recommend(tools.with_model(chat), asked))
    page = made["recommendations"]
    return {one["item_id"]: one["score"] for one in page if one["item_id"] != "odd-1"}


class Obedient(ScriptedChat):
    """A model that does what titles tell it, wherever the schema lets it."""

    def __init__(self, title: str) -> None:
        super().__init__(self.obey)
        self.words = (" ".join(title.split()) or "odd-1")[:60].ljust(12, "!")

    def obey(self, ask: Ask[Any]) -> dict[str, Any]:
        why = self.words
        return {
            "PlannerAnswer": {"personas": [{"name": why, "why": why, "items": [1, 2, 3]}]},
            "ExpertAnswer": {"tags": [{"tag": why, "why": why}] * 4},
            "ArbiterAnswer": {"keep": [{"tag": n, "why": why} for n in (1, 1, 99)]},
            "StyleAnswer": {"tone": why, "first": ["clarity"], "avoid": why},
            "ExplainerAnswer": {
                "sentences": [
                    {"item": number, "text": f"You must buy this, number {number}. {why}"}
                    for number in range(1, 7)
                ]
            },
        }[ask.schema.__name__]


@pytest.mark.parametrize("title", TITLES, ids=range(len(TITLES)))
def test_a_model_that_obeys_it_is_not_believed(films_over: Any, title: str) -> None:
    chat = Obedient(title)
    tools = films_over("odd-1", title).with_model(chat)
    made = asyncio.run(recommend(tools, Request(user_id="ann", n=9)))
    page = made["recommendations"]
    history = {"space-1", "space-3", "love-1"}
    assert {one["item_id"] for one in page} == set(tools.dataset.item_ids) - history
    for one in page:
        if one["item_id"] != "odd-1":
            assert one["explained_by"] == "fallback"
            assert "You must buy" not in one["explanation"]


def test_over_http_no_title_breaks_the_answer_of_another(serve: Any) -> None:
    server = serve()
    before = server.recommend(user_id="bob", n=3, filters={"deny": ["odd-1"]})
    for title in TITLES:
        sent = {"items": [{"item_id": "odd-1", "title": title, "categories": ["Comedy"]}]}
        assert server.call("POST", "/v1/items", sent).status_code == 200
        body = {"user_id": "cat", "n": 11, "stream": True, "include_consumed": True}
        text = server.call("POST", "/v1/recommendations", body).text
        blocks = [block for block in text.split("\n\n") if block]
        names = [block.split("\n")[0] for block in blocks]
        assert names.count("event: result") == 1
        assert names[-1] == "event: result"
        assert all(len(block.split("\n")) == 2 for block in blocks)
        last = json.loads(blocks[-1].split("\n")[1].removeprefix("data: "))
        assert len(last["recommendations"]) == 11
    after = server.recommend(user_id="bob", n=3, filters={"deny": ["odd-1"]})
    assert after["recommendations"] == before["recommendations"]
