"""One honest sentence an item: written for a group at once, each held against the facts.

RecGPT-V2's second stage, `e = f_exp(g, U, I, S)`: the style guideline, then the sentences. The
items that share a persona or a channel are explained together, a few in a call, and whoever listens
is told of each group as it is done. A sentence that says what no fact bears out is asked for once
more, with what was wrong, and then gives way to its grounded twin. What was written for an
(interest, item) pair is cached, unless it may hold somebody's own words.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from foretaste.agents.contexts.context import Reader
from foretaste.agents.explaining import twin
from foretaste.agents.explaining.facts import Facts, facts_of
from foretaste.agents.explaining.kept import Sentence, cache_key
from foretaste.agents.explaining.languages import Audience, Language, audience, language
from foretaste.agents.explaining.sentence_guard import Thing, check_sentence
from foretaste.agents.explaining.style import guideline
from foretaste.agents.objects import Persona, Recommendation, Step, Verdict
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.running.trace import note
from foretaste.agents.wording import prompting
from foretaste.agents.wording.asking import CheckFailed, ask_or_fall_back
from foretaste.agents.wording.schemas import ExplainerAnswer, cut_to
from foretaste.serving.chat import Message

CHARACTERS = 200  # of one sentence
TOKENS = 56  # that one sentence may take, with its number
WORN = 6  # words said too often lately that a prompt names
Told = Callable[[list[Recommendation]], None]


@dataclass(frozen=True)
class Setting:
    """For whom and in which language the page is explained, and the wish that it answers."""

    language: Language
    readers: str
    audience: Audience
    wish: str = ""


@dataclass
class Held:
    """What became of the items of one call: sentences that hold, and what was wrong with others."""

    texts: dict[int, str] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)


async def explain(
    tools: Tools,
    reader: Reader,
    page: list[Recommendation],
    seed: int,
    personas: Sequence[Persona] = (),
    verdicts: Sequence[Verdict] = (),
    told: Told | None = None,
) -> tuple[list[Recommendation], list[Step]]:
    """The page with a sentence on every item, and what that took.

    Args:
        tools: of the run.
        reader: whom the page is for.
        page: the items, best first.
        seed: of sampling, and of the order in which grounded sentences are used.
        personas: of this person; an item of one's tags is explained by its evidence.
        verdicts: the arbiter's, which tell whose a tag is.
        told: is given the items of each group with their final sentences as soon as they and
            those of the groups before are done; before that the items whose sentences were kept.
    """
    setting = setting_of(tools, reader)
    facts = facts_of(tools, reader, page, personas, verdicts)
    keys = [None if one.private else sentence_key(tools, setting, one, seed) for one in facts]
    kept = await asyncio.to_thread(tools.explanations.cache.get, [key for key in keys if key])
    said = {place: kept[key] for place, key in enumerate(keys) if key in kept}
    missing = [place for place in range(len(facts)) if place not in said]
    note(cache_hits=len(said), cache_misses=sum(keys[place] is not None for place in missing))
    fallbacks = twin.sentences(
        facts, setting.language, setting.readers, tools.explanations.memory, seed
    )

    def explained(places: Sequence[int]) -> list[Recommendation]:
        return [_with_sentence(page[place], said[place]) for place in places]

    if told and said and missing:
        told(explained(sorted(said)))
    steps: list[Step] = []
    async for group, texts, taken in _written(tools, setting, facts, missing, seed):
        steps += taken
        for place in group:
            text = texts.get(place)
            said[place] = Sentence(text or fallbacks[place], "model" if text else "fallback")
        if told:
            told(explained(group))
    fresh = {key: said[place] for place in missing if (key := keys[place])}
    await asyncio.to_thread(_keep, tools, fresh)
    return explained(range(len(page))), steps


def setting_of(tools: Tools, reader: Reader) -> Setting:
    """The setting of a page."""
    readers, wish = tools.config.audience, prompting.clean(reader.context.wish or "", 200)
    return Setting(language(tools.config.language), readers, audience(readers), wish)


def sentence_key(tools: Tools, setting: Setting, facts: Facts, seed: int) -> str:
    """Under which the explanation of an item, for all who share its evidence, is cached."""

    def stated(thing: Thing | None) -> list[object] | None:
        return [thing.title, *thing.attributes] if thing else None

    return cache_key(
        "sentence",
        tools.dataset.info.fingerprint,
        [facts.item_id, stated(facts.item), facts.kind, facts.evidence_id, stated(facts.evidence)],
        [facts.shared, facts.tag, facts.moment],
        [setting.language.code, setting.language.fingerprint, setting.audience.model_dump()],
        [prompting.template(name) for name in ("system", "style", "explainer")],
        tools.model.name if tools.model else None,
        [tools.config.adapter_of("explainer"), tools.config.temperature, seed],
    )


def explainer_messages(
    setting: Setting,
    group: Sequence[Facts],
    style: str,
    worn: Sequence[str] = (),
    wrong: Sequence[str] = (),
) -> tuple[Message, ...]:
    """The prompt for one group of items.

    Args:
        setting: language and wish; the wish is told only where it found the items.
        group: the facts of each item.
        style: the guideline.
        worn: words to leave out because they were said too often.
        wrong: what was wrong with each item's last sentence, when they are asked for again.
    """
    blocks = [
        _block(number, one, wrong[number - 1] if wrong else "")
        for number, one in enumerate(group, 1)
    ]
    if setting.wish and any(one.kind == "wish" for one in group):
        blocks.insert(0, f"Wish: {setting.wish}")
    return prompting.messages(
        "explainer",
        style=style,
        items="\n".join(blocks),
        language=setting.language.name,
        worn=f" Do not use the words {', '.join(worn)}." if worn else "",
    )


def held(answer: ExplainerAnswer, setting: Setting, group: Sequence[Facts]) -> Held:
    """Which sentences of an answer hold, each checked alone; the first for a number counts."""
    found = Held()
    taken: set[str] = set()
    for one in answer.sentences:
        place = one.item - 1
        if not 0 <= place < len(group) or place in found.texts or place in found.faults:
            continue
        facts = group[place]
        wish = setting.wish if facts.kind == "wish" else ""
        text = prompting.clean(one.text, CHARACTERS)
        try:
            if text.casefold() in taken:
                raise CheckFailed("the sentence was said of another item already")
            found.texts[place] = check_sentence(
                text,
                facts.item,
                facts.chosen,
                setting.language,
                known=f"{facts.known} {wish}",
            )
            taken.add(text.casefold())
        except CheckFailed as problem:
            found.faults[place] = str(problem)
    for place in set(range(len(group))) - set(found.texts) - set(found.faults):
        found.faults[place] = "there was no sentence for this item"
    return found


async def _written(
    tools: Tools, setting: Setting, facts: list[Facts], places: list[int], seed: int
) -> AsyncGenerator[tuple[list[int], dict[int, str], list[Step]]]:
    """The places of each group, the model's sentences that hold by place, and the calls.

    All groups are asked at once and given in their order, so that the same answers make the same
    page whoever answers first.
    """
    if not places:
        return
    style, calls = "", list[Step]()
    if tools.model is not None:
        style, calls = await guideline(tools, setting.language, setting.audience, seed)
    groups = _grouped(facts, places, tools.config.explained_together)
    at_work = [
        asyncio.create_task(_write_group(tools, setting, [facts[i] for i in one], style, seed))
        for one in groups
    ]
    alike: set[str] = set()  # what two groups said word for word stands once
    try:
        for group, task in zip(groups, at_work, strict=True):
            texts, taken = await task
            new = {}
            for place, text in sorted(texts.items()):
                if text.casefold() not in alike:
                    new[group[place]] = text
                alike.add(text.casefold())
            yield group, new, calls + taken
            calls = []
    finally:
        for task in at_work:
            task.cancel()
        await asyncio.gather(*at_work, return_exceptions=True)


async def _write_group(
    tools: Tools, setting: Setting, group: list[Facts], style: str, seed: int
) -> tuple[dict[int, str], list[Step]]:
    """One call for a group, and one more for the sentences of it that do not hold."""
    worn = tools.explanations.memory.worn(setting.language.glue, WORN)
    first, step = await _ask(tools, setting, group, style, worn, {}, seed)
    if tools.model is None or not first.faults:
        return first.texts, [step]
    again = sorted(first.faults)
    second, other = await _ask(
        tools, setting, [group[i] for i in again], style, worn, first.faults, seed
    )
    texts = first.texts | {again[place]: text for place, text in second.texts.items()}
    if second.faults and other.fallback is None:
        fault = next(iter(second.faults.values()))
        reason = f"{len(second.faults)} of {len(group)} sentences do not hold; the first: {fault}"
        other = other.model_copy(update={"fallback": reason})
    return texts, [step, other]


async def _ask(
    tools: Tools,
    setting: Setting,
    group: list[Facts],
    style: str,
    worn: list[str],
    wrong: dict[int, str],
    seed: int,
) -> tuple[Held, Step]:
    faults = [prompting.clean(wrong[place], CHARACTERS) for place in sorted(wrong)]
    what = "again" if wrong else group[0].kind
    nothing = Held(faults=dict.fromkeys(range(len(group)), "the answer could not be read"))
    return await ask_or_fall_back(
        tools.model,
        tools.config,
        node="explainer",
        label=f"{len(group)} item{'s' if len(group) > 1 else ''}, {what}",
        messages=lambda: explainer_messages(setting, group, style, worn, faults),
        schema=cut_to(ExplainerAnswer, len(group)),
        max_tokens=TOKENS * (len(group) + 1),
        check=lambda answer: held(answer, setting, group),
        fallback=lambda: nothing,
        seed=seed,
    )


def _grouped(facts: list[Facts], places: list[int], most: int) -> list[list[int]]:
    """Places by persona, or else by kind of reason; more than `most` in several calls."""
    groups: dict[tuple[bool, int | None], list[int]] = {}
    for place in places:
        one = facts[place]
        groups.setdefault((one.kind == "wish", one.persona), []).append(place)
    return [
        group[start : start + most]
        for group in groups.values()
        for start in range(0, len(group), most)
    ]


def _with_sentence(item: Recommendation, sentence: Sentence) -> Recommendation:
    said = {"explanation": sentence.text, "explained_by": sentence.source}
    return item.model_copy(update=said)


def _keep(tools: Tools, sentences: dict[str, Sentence]) -> None:
    """Into the cache, and into the memory of what was said; private sentences never come here."""
    if sentences:
        tools.explanations.cache.put(sentences)
        tools.explanations.remember([one.text for one in sentences.values()])


def _block(number: int, facts: Facts, wrong: str) -> str:
    """The lines of a prompt about one item."""
    lines = [f"Item {number}: {prompting.entity(facts.item_id, _named(facts.item))}"]
    if facts.evidence:
        lines.append(
            f"The person chose: {prompting.entity(facts.evidence_id, _named(facts.evidence))}"
        )
    if facts.shared:
        lines.append(f"Both are: {', '.join(facts.shared)}")
    lines.append(f"Found because of: {_because(facts)}")
    if facts.moment:
        lines.append(f"Time of year: {facts.moment}")
    if wrong:
        lines.append(f"Wrong last time: {wrong}")
    return "\n".join(lines)


def _named(thing: Thing) -> str:
    names = ", ".join(thing.attributes)
    return f"{thing.title} ({names})" if names else thing.title


def _because(facts: Facts) -> str:
    if facts.tag:
        return f"the tag {facts.tag}"
    reasons = {
        "wish": "the wish",
        "popular": "many people chose it",
        "fresh": "it is new",
        "trending": "many people chose it lately",
    }
    return reasons.get(facts.kind, "people who chose the same items also chose it")
