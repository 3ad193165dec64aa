"""Explainer and style rows: the grounded twins' own words, held against the same guard as served ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from foretaste.agents.explaining import twin
from foretaste.agents.explaining.dimensions import NAMES
from foretaste.agents.explaining.explainer import explainer_messages, held, setting_of
from foretaste.agents.explaining.facts import Facts, facts_of
from foretaste.agents.explaining.languages import audience, language
from foretaste.agents.explaining.memory import Memory
from foretaste.agents.explaining.style import style_messages
from foretaste.agents.objects import Persona, Recommendation, Tag, Verdict
from foretaste.agents.reasoning import expert
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording.schemas import ExplainerAnswer, SentenceAnswer, StyleAnswer
from foretaste.finetune.examples.hindsight import Moment, Rejects
from foretaste.serving.chat import Message

SENTENCES = 3  # items of one row at most
CHANNELS = ("tags", "collaborative", "tags", "fresh", "trending")  # that items are said to be from
AUDIENCES = ("general", "expert", "child")


@dataclass(frozen=True)
class Said:
    """One prompt with its answer; `group` holds the facts of the explained items."""

    agent: str
    prompt: tuple[Message, ...]
    answer: ExplainerAnswer | StyleAnswer
    group: tuple[Facts, ...] = ()


def explained(moment: Moment, personas: list[Persona], rejects: Rejects, seed: int) -> Said | None:
    """A row about the next items: the twin's sentences, worded anew by the seed."""
    tools, reader = moment.tools, moment.reader
    setting = setting_of(tools, reader)
    page, verdicts = _page(moment, personas, seed)
    group = facts_of(tools, reader, page, personas, verdicts)[: 1 + seed % SENTENCES]
    if not group:
        return None
    memory = Memory()
    texts = twin.sentences(group, setting.language, setting.readers, memory, seed)
    answer = ExplainerAnswer.model_construct(
        sentences=[
            SentenceAnswer.model_construct(item=n, text=text) for n, text in enumerate(texts, 1)
        ]
    )
    faults = held(answer, setting, group).faults
    if faults:
        rejects.add("explainer", next(iter(faults.values())))
        return None
    prompt = explainer_messages(setting, group, guideline(AUDIENCES[seed % len(AUDIENCES)]))
    return Said("explainer", prompt, answer, tuple(group))


def styles(tools: Tools) -> Iterator[Said]:
    """One row an audience, in the language of the settings."""
    spoken = language(tools.config.language)
    for name in AUDIENCES:
        readers = audience(name)
        answer = StyleAnswer(
            tone=readers.tone,
            first=[one for one in NAMES if one in readers.first],
            avoid=readers.avoid,
        )
        yield Said("style", style_messages(tools, spoken, readers), answer)


def guideline(name: str) -> str:
    """The guideline of an audience as the style agent hands it on."""
    readers = audience(name)
    return f"{readers.tone}; first of all {' and '.join(readers.first)}; avoid {readers.avoid}"


def _page(
    moment: Moment, personas: list[Persona], seed: int
) -> tuple[list[Recommendation], list[Verdict]]:
    """The next items as a page would hold them, some found by a tag of a persona."""
    tools, reader = moment.tools, moment.reader
    tags: list[Tag] = [
        tag
        for number, one in enumerate(personas)
        for tag in expert.grounded_tags(tools, reader, one, number, tools.config.tags).tags
    ]
    page, used = [], []
    for place, row in enumerate(moment.future[:SENTENCES]):
        channel = CHANNELS[(seed + place) % len(CHANNELS)]
        found = [tag for tag in tags if row in tools.lexicon.matching(tag.text)]
        if channel == "tags" and not found:
            channel = "collaborative"
        used += found[:1] if channel == "tags" else []
        page.append(
            Recommendation(
                item_id=tools.dataset.item_ids[row],
                title=tools.dataset.titles[row],
                score=1.0,
                channel=channel,
                tags=(found[0].text,) if channel == "tags" else (),
            )
        )
    verdicts = [Verdict(tag=tag, kept=True, reason="found it", source="model") for tag in used]
    return page, verdicts
