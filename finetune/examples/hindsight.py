"""Answers that the future confirms: personas, tags and choices made without any model.

A moment cuts a training history in two: what the agents would have read then, and what came after.
The prompts are made by the agents' own functions; an answer that would not pass the agents' own checks is
rejected and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from foretaste.agents.contexts.compression import Compressed, short_title
from foretaste.agents.contexts.context import Reader
from foretaste.agents.objects import Persona, Tag
from foretaste.agents.reasoning import arbiter, expert, grounded, offered, planner, tastes
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording import prompting
from foretaste.agents.wording.asking import CheckFailed
from foretaste.agents.wording.lexicon import words
from foretaste.agents.wording.schemas import (
    ArbiterAnswer,
    ExpertAnswer,
    KeepAnswer,
    PersonaAnswer,
    PlannerAnswer,
    TagAnswer,
)
from foretaste.serving.chat import Message

ITEMS_NAMED = 4  # history items that a persona names
NAMED_LETTERS = 40
LIKE_WORDS = 3  # of the title that a tag's reason names
NEIGHBOURS = 20  # of the evidence in the catalogue, when the future has too few items
SHARED = 3  # items of a category that say a word, for it to be a modifier
COMMON = 0.05  # share of the catalogue that says it, above which it says nothing
FITS = "fits their taste"
WRITER = "hindsight"


@dataclass
class Rejects:
    """Answers that failed the agents' own checks, by agent and reason."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, agent: str, why: str) -> None:
        """Count one; quoted texts and numbers are left out of the reason."""
        said = [word for word in why.split() if "'" not in word and not word[:1].isdigit()]
        self.counts[f"{agent}: {' '.join(said[:6])}"] += 1


@dataclass(frozen=True)
class Moment:
    """One person at one time.

    Attributes:
        user: id.
        tools: the data set as it was known then, with the rule fitted on what was known.
        reader: what the agents would have read.
        future: rows of what was chosen next, soonest first, each once.
        leaves: last categories of all items of the catalogue.
    """

    user: str
    tools: Tools
    reader: Reader
    future: tuple[int, ...]
    leaves: frozenset[str]


@dataclass(frozen=True)
class Example:
    """One prompt with its answer."""

    agent: str
    prompt: tuple[Message, ...]
    answer: PlannerAnswer | ExpertAnswer | ArbiterAnswer


def sides(moment: Moment) -> list[Persona]:
    """The personas of a moment: clusters of the history, heaviest first, as a model can tell them.

    Each rests on those of its items that the planner's prompt lists, and is named by what marks these:
    what cannot be read in the prompt cannot be learnt from it. They are marked as a model's, as the
    served planner's will be.
    """
    tools, reader = moment.tools, moment.reader
    history = planner.history_of(tools, reader)
    return [
        _told(tools, planner.persona_of(tools, reader, _within(tools, one, history)))
        for one in planner.listed(planner.clustered(tools, reader), history)
    ]


def by_future(moment: Moment, personas: Sequence[Persona]) -> list[Persona]:
    """The same personas, those that the future confirms most first."""
    hits = np.bincount(
        np.array(confirmed(moment.tools, personas, moment.future), dtype=np.int64),
        minlength=len(personas),
    )
    return [personas[n] for n in sorted(range(len(personas)), key=lambda n: (-int(hits[n]), n))]


def confirmed(tools: Tools, personas: Sequence[Persona], rows: Sequence[int]) -> list[int]:
    """Number of the persona that each item fits best, by mean cosine with its evidence."""
    if not rows or not personas:
        return []
    middles = np.stack(
        [tools.vectors[tools.dataset.rows(list(one.evidence))].mean(axis=0) for one in personas]
    )  # (personas, d)
    return [int(n) for n in (tools.vectors[list(rows)] @ middles.T).argmax(axis=1)]


def planned(moment: Moment, personas: Sequence[Persona], rejects: Rejects) -> Example | None:
    """The planner's row: these personas by the numbers of the history's items, those that the
    future confirms most first.
    """
    tools, reader = moment.tools, moment.reader
    history = planner.history_of(tools, reader)
    number = {item_id: n for n, item_id in enumerate(history.item_ids, 1)}
    answers = [
        PersonaAnswer(
            items=[number[item_id] for item_id in one.evidence],
            name=one.name,
            why=one.description,
            now=one.why_now,
        )
        for one in by_future(moment, personas)
    ]
    try:
        unlike = planner.checked(answers, history, tools)
    except CheckFailed as problem:
        rejects.add("planner", str(problem))
        return None
    kept = {(one.name, number[one.evidence[0]]) for one in unlike}
    answers = [one for one in answers if (one.name, one.items[0]) in kept]
    prompt = planner.planner_messages(reader, history, len(answers))
    return Example("planner", prompt, PlannerAnswer(personas=answers))


def proposed(
    moment: Moment, personas: Sequence[Persona], number: int, rejects: Rejects, seed: int
) -> Example | None:
    """An expert's row: tags of the next items that fit the persona.

    Too few: items of the catalogue near the evidence; too many: a seeded sample.
    """
    tools, reader, persona = moment.tools, moment.reader, personas[number]
    owners = confirmed(tools, personas, moment.future)
    fitting = [row for row, own in zip(moment.future, owners, strict=True) if own == number]
    draw = np.random.default_rng([seed, number])
    wanted = tools.config.tags
    if len(fitting) > wanted:
        chosen = draw.choice(len(fitting), wanted, replace=False)
        fitting = [fitting[n] for n in np.sort(chosen)]
    tags: list[Tag] = []
    for row in [*fitting, *_near(moment, persona, fitting)]:
        tags += _tag(moment, row, number)
    tags += grounded.tags(
        tools.dataset.rows(list(persona.evidence)), tools.lexicon, reader.allowed, wanted, number
    )
    sifted = expert.sifted(tags, tools, reader).tags[:wanted]
    if len(sifted) < min(tools.config.min_tags, wanted):
        rejects.add("expert", "too few valid tags")
        return None
    answers = [TagAnswer(tag=tag.text, why=_like(moment, persona, tag)) for tag in sifted]
    prompt = expert.expert_messages(tools, reader, persona)
    return Example("expert", prompt, ExpertAnswer(tags=answers))


def decided(moment: Moment, personas: Sequence[Persona], rejects: Rejects) -> Example | None:
    """The arbiter's row: of the grounded experts' tags and the offered ones, those that the future
    confirms first, the others in the order in which they were offered, no two of one category as
    long as there are others.
    """
    tools, reader = moment.tools, moment.reader
    beside = offered.tags(tools, reader, list(personas))
    own = [
        tag
        for number, one in enumerate(personas)
        for tag in expert.grounded_tags(tools, reader, one, number, tools.config.tags).tags
    ]
    unique, _ = arbiter.without_repeats([*beside, *own])
    if len(unique) < 2:
        rejects.add("arbiter", "fewer than two tags to choose from")
        return None
    hits = [_hits(moment, tag) for tag in unique]
    order = sorted(range(len(unique)), key=lambda n: (not hits[n], n))
    cores = [_core(moment, tag) for tag in unique]
    first = [
        n for place, n in enumerate(order) if cores[n] not in [cores[m] for m in order[:place]]
    ]
    others = [n for n in order if n not in first]
    kept = [*first, *others][: min(tools.config.kept, len(unique))]
    answer = ArbiterAnswer.model_construct(
        keep=[
            KeepAnswer(tag=n + 1, why=unique[n].reason if n < len(beside) else FITS) for n in kept
        ]
    )
    prompt = arbiter.arbiter_messages(tools, reader, list(personas), unique, len(beside))
    return Example("arbiter", prompt, answer)


def wishing(moment: Moment, texts: tuple[str, ...], wished: bool) -> Moment:
    """The same moment with texts about the day, and a wish for what was really chosen next."""
    context = moment.reader.context
    wish = context.wish
    if wished and moment.future:
        names = moment.tools.dataset.categories_of(moment.future[0])
        wish = f"something like {prompting.clean(names[-1], 40)}" if names else None
    told = context.model_copy(update={"environment": texts, "wish": wish})
    return replace(moment, reader=replace(moment.reader, context=told))


def _within(tools: Tools, persona: Persona, history: Compressed) -> tastes.Cluster:
    """The newest of a persona's items that the prompt lists."""
    ids = [item_id for item_id in persona.evidence if item_id in history.item_ids]
    return tastes.Cluster(tuple(tools.dataset.rows(ids[:ITEMS_NAMED])), 1.0)


def _told(tools: Tools, persona: Persona) -> Persona:
    """A grounded persona in the words that a short answer has."""
    rows = tools.dataset.rows(list(persona.evidence))
    names = grounded.distinctive(tools.lexicon.categories, rows, 2)
    name = " & ".join(names) if names else persona.name
    name = name if len(name) <= NAMED_LETTERS or not names else names[0]
    return persona.model_copy(
        update={
            "name": prompting.clean(name, NAMED_LETTERS),
            "description": _chose(tools, rows),
            "source": "model",
        }
    )


def _chose(tools: Tools, rows: Sequence[int]) -> str:
    titles = [short_title(tools.dataset.titles[row]) for row in rows[:2]]
    return prompting.clean(f"Chose {' and '.join(titles)}", 110)


def _near(moment: Moment, persona: Persona, taken: Sequence[int]) -> list[int]:
    """Allowed items of the catalogue most like the persona's evidence."""
    tools = moment.tools
    rows = tools.dataset.rows(list(persona.evidence))
    likeness = tools.vectors @ tools.vectors[rows].mean(axis=0)  # (items,)
    likeness = np.where(moment.reader.allowed[: len(likeness)], likeness, -np.inf)
    count = min(NEIGHBOURS, len(likeness))
    best = np.argpartition(-likeness, count - 1)[:count]
    ranked = best[np.argsort(-likeness[best], kind="stable")]
    return [int(row) for row in ranked if row not in taken and np.isfinite(likeness[row])]


def _tag(moment: Moment, row: int, number: int) -> list[Tag]:
    """Modifier + core word of one item; none without categories.

    The core is its leaf category. Where an item is filed under several categories side by side, the
    modifier is another of them; under a path of categories it is a word of the title that other
    items of that leaf say too, or else the category above.
    """
    tools = moment.tools
    names = tools.dataset.categories_of(row)
    if not names:
        return []
    leaf, above = names[-1], names[-2::-1]
    modifier = next((name for name in above if not set(words(name)) & set(words(leaf))), "")
    if len(names) > 1 and modifier not in moment.leaves:
        modifier = _usual_word(tools, row, leaf) or modifier
    text = prompting.clean(f"{modifier} {leaf}".strip(), 60)
    return [Tag(text=text, persona=number, reason="", source="fallback")]


def _usual_word(tools: Tools, row: int, leaf: str) -> str:
    """The word of a title that most items of its leaf category say, and few others."""
    terms = tools.lexicon.words
    of_leaf = set(tools.lexicon.categories.carriers(leaf).tolist())
    usual: dict[str, int] = {}
    for word in sorted(tools.lexicon.title_words(row)):
        carriers = terms.carriers(word).tolist()
        plain = len(word) > 2 and word.isalpha() and word not in words(leaf)
        both = sum(other in of_leaf for other in carriers)
        if plain and both >= SHARED and len(carriers) <= COMMON * terms.items:
            usual[word] = both
    return max(usual, key=lambda word: usual[word]) if usual else ""


def _core(moment: Moment, tag: Tag) -> str:
    """The leaf category that a tag ends with, or the whole tag."""
    ends = [name for name in moment.leaves if tag.text.endswith(name)]
    return max(ends, key=len, default=tag.text)


def _like(moment: Moment, persona: Persona, tag: Tag) -> str:
    """Why a tag: of the evidence items that the prompt names the one that carries most of its words."""
    tools = moment.tools
    rows = tools.dataset.rows(list(persona.evidence[: tools.config.evidence_items]))
    carried = tools.lexicon.carried(tag.text)[rows]
    title = short_title(tools.dataset.titles[rows[int(carried.argmax())]])
    return prompting.clean(f"like {' '.join(title.split()[:LIKE_WORDS])}", 80)


def _hits(moment: Moment, tag: Tag) -> bool:
    """Whether something was chosen next that the tag matches."""
    return bool(set(moment.tools.lexicon.matching(tag.text).tolist()) & set(moment.future))
