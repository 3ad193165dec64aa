"""Explanations: the road from facts to a page, with and without a model."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from foretaste.agents.config import AgentsConfig
from foretaste.agents.contexts.context import read
from foretaste.agents.explaining import explainer
from foretaste.agents.explaining.diversity import diversity, tokens
from foretaste.agents.explaining.facts import facts_of
from foretaste.agents.explaining.kept import Explanations, SentenceCache
from foretaste.agents.explaining.languages import language
from foretaste.agents.explaining.memory import Memory
from foretaste.agents.explaining.twin import sentences
from foretaste.agents.objects import Recommendation, Request, Tag, Verdict
from foretaste.agents.recommend import EXPLAINED, Run, recommend, result, stream
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording.schemas import ExplainerAnswer, StyleAnswer
from foretaste.data.errors import InputError
from foretaste.serving.chat import Ask
from foretaste.serving.scripted_chat import ScriptedChat

STYLE = {"tone": "plain", "first": ["clarity"], "avoid": "praise"}


def _good(ask: Ask[Any]) -> Any:
    """A model that copies what stands under each item."""
    if ask.schema is StyleAnswer:
        return STYLE
    if not issubclass(ask.schema, ExplainerAnswer):
        return "not json"
    titles = [
        line.split(": ", 1)[1].split(" (")[0]
        for line in ask.messages[-1].text.splitlines()
        if line.startswith("Item ")
    ]
    texts = [
        {"item": n, "text": f"Here is {title}, close to what you chose."}
        for n, title in enumerate(titles, 1)
    ]
    return {"sentences": texts}


def _page(tools: Tools, model: Any = None, **wanted: Any) -> dict[str, Any]:
    made = asyncio.run(recommend(tools.with_model(model), Request(**wanted)))
    return made


def _asks(chat: ScriptedChat, schema: type) -> list[str]:
    return [ask.messages[-1].text for ask in chat.asks if issubclass(ask.schema, schema)]


def test_a_page_takes_one_call_a_persona_or_channel(tools: Tools) -> None:
    chat = ScriptedChat(_good)
    made = _page(tools, chat, user_id="ann", n=9)
    assert {one["explained_by"] for one in made["recommendations"]} == {"model"}
    assert len(_asks(chat, ExplainerAnswer)) <= 4
    assert len(_asks(chat, StyleAnswer)) == 1
    assert made["fallbacks"]["explainer"]["fallbacks"] == 0


def test_the_second_request_is_served_from_the_cache(tools: Tools) -> None:
    chat = ScriptedChat(_good)
    first = _page(tools, chat, user_id="ann", n=9)
    before = len(_asks(chat, ExplainerAnswer))
    second, run = None, Run()

    async def again() -> None:
        ready = tools.with_model(chat)
        async for _ in stream(ready, Request(user_id="ann", n=9), run):
            continue

    asyncio.run(again())
    second = result(tools, Request(user_id="ann", n=9), run)
    assert len(_asks(chat, ExplainerAnswer)) == before
    assert len(_asks(chat, StyleAnswer)) == 1
    said = [[one["explanation"] for one in made["recommendations"]] for made in (first, second)]
    assert said[0] == said[1]
    notes = next(span.notes for span in run.state["spans"] if span.node == "explain")
    assert notes["cache_hits"] == 9
    assert notes["cache_misses"] == 0


def test_another_language_model_or_seed_is_another_sentence(tools: Tools) -> None:
    reader = read(tools.dataset, Request(user_id="ann"))
    item = Recommendation(item_id="space-2", title="Moon", score=1, channel="collaborative")
    (facts,) = facts_of(tools, reader, [item])
    dutch = replace(tools, config=AgentsConfig(language="nl"))
    child = replace(tools, config=AgentsConfig(audience="child"))
    made = {
        explainer.sentence_key(one, explainer.setting_of(one, reader), facts, seed)
        for one in (tools, dutch, child, tools.with_model(ScriptedChat(_good)))
        for seed in (0, 1)
    }
    assert len(made) == 8


def test_only_what_fails_is_written_again_and_told_why(tools: Tools) -> None:
    def once_wrong(ask: Ask[Any]) -> Any:
        said = _good(ask)
        if (
            issubclass(ask.schema, ExplainerAnswer)
            and "Wrong last time" not in ask.messages[-1].text
        ):
            said["sentences"][0]["text"] = "It won 11 Oscars in the year of the comet."
        return said

    chat = ScriptedChat(once_wrong)
    made = _page(tools, chat, history=("space-1",), n=4)
    first, second = _asks(chat, ExplainerAnswer)
    assert first.count("\nItem ") == 4
    assert second.count("\nItem ") == 1
    assert "Wrong last time: the sentence says 'won'" in second
    assert {one["explained_by"] for one in made["recommendations"]} == {"model"}
    assert "Oscars" not in str(made["recommendations"])


def test_what_fails_twice_gives_way_to_its_twin_alone(tools: Tools) -> None:
    def lies_of_one(ask: Ask[Any]) -> Any:
        said = _good(ask)
        if issubclass(ask.schema, ExplainerAnswer):
            said["sentences"][0]["text"] = "It won 11 Oscars in the year of the comet."
        return said

    made = _page(tools, ScriptedChat(lies_of_one), history=("space-1",), n=4)
    sources = [one["explained_by"] for one in made["recommendations"]]
    assert sorted(sources) == ["fallback", "model", "model", "model"]
    row = made["fallbacks"]["explainer"]
    assert (row["calls"], row["fallbacks"]) == (2, 1)
    assert "'won'" in row["reasons"][0]


def test_one_sentence_for_all_is_not_enough(tools: Tools) -> None:
    def same(ask: Ask[Any]) -> Any:
        said = _good(ask)
        for one in said.get("sentences", []) if isinstance(said, dict) else []:
            one["text"] = "It is close to what you chose, such as Star Voyage."
        return said

    made = _page(tools, ScriptedChat(same), history=("space-1",), n=4)
    said = [one["explanation"] for one in made["recommendations"]]
    assert len(set(said)) == 4


def test_a_wish_and_an_attribute_never_reach_another_person(tools: Tools, tmp_path: Path) -> None:
    own = "quokka"
    cache = SentenceCache(tmp_path / "films.sqlite")
    tools = replace(tools, explanations=Explanations(cache, keep=True))

    def repeats_it(ask: Ask[Any]) -> Any:
        said = _good(ask)
        wished = own in ask.messages[-1].text
        for one in said.get("sentences", []) if isinstance(said, dict) and wished else []:
            one["text"] += f" It fits your {own} wish."
        return said

    chat = ScriptedChat(repeats_it)
    wish = f"a {own} with horror"
    made = _page(tools, chat, user_id="ann", n=9, wish=wish)
    wished = [one for one in made["recommendations"] if one["channel"] == "wish"]
    assert any(own in one["explanation"] for one in wished), "their own page may say it"
    for prompt in _asks(chat, ExplainerAnswer) + _asks(chat, StyleAnswer):
        assert "24" not in prompt, "attributes are no matter of explanations"
    with sqlite3.connect(tmp_path / "films.sqlite") as file:
        kept = "\n".join(file.iterdump())
    assert own not in kept
    assert own not in " ".join(tools.explanations.memory.texts())
    asked = len(chat.asks)
    other = _page(tools, chat, user_id="cat", n=9)
    assert own not in str(other["recommendations"])
    assert all(own not in ask.messages[-1].text for ask in chat.asks[asked:])


def test_a_tag_that_says_more_than_the_catalogue_is_kept_to_its_person(tools: Tools) -> None:
    reader = read(tools.dataset, Request(user_id="ann"))

    def found(tag: str) -> bool:
        item = Recommendation(
            item_id="fear-2", title="Silent Ward", score=1, channel="tags", tags=(tag,)
        )
        own = Verdict(
            tag=Tag(text=tag, persona=0, reason="r", source="model"),
            kept=True,
            reason="r",
            source="model",
        )
        other = own.model_copy(
            update={"tag": own.tag.model_copy(update={"persona": 1}), "kept": False}
        )
        (facts,) = facts_of(tools, reader, [item], verdicts=[own, other])
        assert (facts.tag, facts.kind, facts.persona) == (tag, "tag", 0)
        return facts.private

    assert not found("horror thriller")
    assert found("horror for widowers")


def test_evidence_shares_a_category_and_comes_from_the_persona(tools: Tools) -> None:
    reader = read(tools.dataset, Request(user_id="ann"))
    page = [
        Recommendation(item_id=one, title=one, score=1, channel="collaborative")
        for one in ("space-4", "love-2", "fear-2")
    ]
    space, love, fear = facts_of(tools, reader, page)
    assert (space.kind, space.evidence_id) in {("shared", "space-1"), ("shared", "space-3")}
    assert (love.evidence_id, love.shared) == ("love-1", ("Romance", "Comedy"))
    assert (fear.kind, fear.evidence, fear.shared) == ("people", None, ())
    assert not any(one.private for one in (space, love, fear))


def test_nobody_is_said_to_have_chosen_what_nobody_chose(tools: Tools) -> None:
    reader = read(tools.dataset, Request(user_id="ann"))
    page = [
        Recommendation(item_id=one, title=one, score=1, channel="collaborative")
        for one in ("fear-2", "fear-3")
    ]
    kinds = [one.kind for one in facts_of(tools, reader, page)]
    assert kinds == ["people", "near"], "bob chose the one, nobody the other"
    held = {one for one in tools.dataset.interactions["item_id"] if one is not None}
    chosen = zip(tools.dataset.item_ids, tools.dataset.chosen.tolist(), strict=True)
    assert {item_id for item_id, one in chosen if one} == held


def test_the_season_is_named_where_the_item_names_it(tools: Tools) -> None:
    request = Request(user_id="ann", environment=("A long winter", "Autumn holidays"))
    reader = read(tools.dataset, request)
    page = [
        Recommendation(item_id=one, title=one, score=1, channel="collaborative")
        for one in ("love-4", "love-2")
    ]
    dance, other = facts_of(tools, reader, page)
    assert (dance.item.title, dance.moment) == ("Autumn Dance (1998)", "autumn")
    assert other.moment is None
    text, plain = sentences([dance, other], language("en"), "general", Memory(), 0)
    assert "autumn" in text
    assert "autumn" not in plain
    assert "winter" not in text + plain


def test_a_page_does_not_say_the_same_thing_twice(tools: Tools) -> None:
    said = [one["explanation"] for one in _page(tools, user_id="ann", n=9)["recommendations"]]
    names = {word for title in tools.dataset.titles for word in tokens(title)}
    names |= {word for name in tools.lexicon.categories.names for word in tokens(name)}
    bare = [" ".join(word for word in tokens(text) if word not in names) for text in said]
    assert len(set(bare)) >= 8
    assert diversity(said) > 0.6


def test_what_was_said_lately_is_said_otherwise(tools: Tools) -> None:
    reader = read(tools.dataset, Request(user_id="ann"))
    item = Recommendation(item_id="love-2", title="x", score=1, channel="collaborative")
    facts = facts_of(tools, reader, [item])
    memory, said = Memory(), []
    for _ in range(8):
        (text,) = sentences(facts, language("en"), "general", memory, 0)
        memory.add([text])
        said.append(text)
    assert len(set(said)) >= 6
    assert said == _told(facts), "the same seed and memory say the same"


def _told(facts: Any) -> list[str]:
    memory, said = Memory(), []
    for _ in range(8):
        (text,) = sentences(facts, language("en"), "general", memory, 0)
        memory.add([text])
        said.append(text)
    return said


def test_worn_words_are_told_to_the_model(tools: Tools) -> None:
    memory = Memory(["You chose Star Voyage, so here is Moon Station"] * 9)
    assert "voyage" not in memory.worn(language("en").glue, 9)
    assert {"chose", "here"} <= set(memory.worn(language("en").glue, 9))
    tools = replace(tools, explanations=Explanations())
    tools.explanations.memory.add(memory.texts())
    chat = ScriptedChat(_good)
    _page(tools, chat, user_id="ann", n=3)
    assert all("Do not use the words" in prompt for prompt in _asks(chat, ExplainerAnswer))


@pytest.mark.parametrize(
    ("code", "word"), [("nl", "je"), ("de", "Sie"), ("fr", "vous"), ("es", "tu")]
)
def test_a_page_in_another_language(tools: Tools, code: str, word: str) -> None:
    config = tools.config.model_copy(update={"language": code})
    made = _page(replace(tools, config=config), user_id="ann", n=9)
    said = " ".join(one["explanation"] for one in made["recommendations"])
    assert word.casefold() in tokens(said)
    assert "chose" not in tokens(said)
    chat = ScriptedChat(_good)
    _page(replace(tools, config=config), chat, user_id="ann", n=3)
    assert f"sentence in {language(code).name}" in _asks(chat, ExplainerAnswer)[0]


@pytest.mark.parametrize("setting", [{"language": "tlh"}, {"audience": "cats"}])
def test_an_unknown_setting_is_one_sentence(setting: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"expects one of .*; choose one"):
        AgentsConfig(**setting)  # type: ignore[arg-type]


def test_a_bad_guideline_gives_way_to_the_audience_s_own(tools: Tools) -> None:
    def wordless(ask: Ask[Any]) -> Any:
        if ask.schema is StyleAnswer:
            return {"tone": "!!!", "first": ["clarity"], "avoid": "???"}
        return _good(ask)

    chat = ScriptedChat(wordless)
    made = _page(tools, chat, user_id="ann", n=3)
    assert made["fallbacks"]["style"]["fallbacks"] == 1
    assert "Style: friendly and plain; first of all relevance" in _asks(chat, ExplainerAnswer)[0]


@pytest.mark.parametrize("together", [1, 2, 6])
def test_no_call_explains_more_items_than_the_setting_says(tools: Tools, together: int) -> None:
    chat = ScriptedChat(_good)
    config = tools.config.model_copy(update={"explained_together": together})
    made = _page(replace(tools, config=config), chat, history=("space-1",), n=5)
    asked = [prompt.count("\nItem ") for prompt in _asks(chat, ExplainerAnswer)]
    assert max(asked) == min(together, 5)
    assert sum(asked) == 5
    rooms = [ask.schema.model_json_schema() for ask in chat.asks if ask.schema is not StyleAnswer]
    most = [one["properties"].get("sentences", {}).get("maxItems") for one in rooms]
    assert [one for one in most if one] == asked, "no room for sentences about nothing"
    assert {one["explained_by"] for one in made["recommendations"]} == {"model"}


def test_sentences_are_told_group_by_group_and_never_change(tools: Tools) -> None:
    chat = ScriptedChat(_good)
    config = tools.config.model_copy(update={"explained_together": 2})
    ready, run = replace(tools, config=config).with_model(chat), Run()
    request = Request(user_id="ann", n=9)

    async def events() -> list[tuple[str, Any]]:
        return [event async for event in stream(ready, request, run)]

    seen = asyncio.run(events())
    kinds = [kind for kind, _ in seen]
    told = [made["recommendations"] for kind, made in seen if kind == EXPLAINED]
    assert len(told) == len(_asks(chat, ExplainerAnswer)) > 2
    assert kinds.index(EXPLAINED) < kinds.index("explain")
    page = {one.item_id: one for one in run.state["page"]}
    assert [one for items in told for one in items if page[one.item_id] != one] == []
    assert sum(map(len, told)) == len(page) == 9


def test_kept_sentences_are_told_before_any_is_written(tools: Tools) -> None:
    chat = ScriptedChat(_good)
    ready = tools.with_model(chat)
    asyncio.run(recommend(ready, Request(history=("space-1",), n=2)))
    reader = read(tools.dataset, Request(history=("space-1",)))
    page = [
        Recommendation(item_id=one, title=one, score=1, channel="collaborative")
        for one in ("space-2", "odd-1")
    ]
    told: list[list[str]] = []
    first = asyncio.run(explainer.explain(ready, reader, page[:1], 0))[0]
    asyncio.run(
        explainer.explain(
            ready, reader, page, 0, told=lambda items: told.append([one.item_id for one in items])
        )
    )
    assert told == [["space-2"], ["odd-1"]]
    again = asyncio.run(explainer.explain(ready, reader, page[:1], 0, told=told.append))[0]
    assert again == first
    assert len(told) == 2, "nothing is told when all is kept"


def test_the_guideline_is_asked_of_the_explainer_s_adapter(tools: Tools) -> None:
    chat = ScriptedChat(_good)
    config = tools.config.model_copy(update={"adapter": "all", "explainer_adapter": "words"})
    _page(replace(tools, config=config), chat, user_id="ann", n=3)
    asked = {ask.schema.__name__: ask.adapter for ask in chat.asks}
    assert asked["StyleAnswer"] == asked["ExplainerAnswer"] == "words"
    assert asked["PlannerAnswer"] == "all"
