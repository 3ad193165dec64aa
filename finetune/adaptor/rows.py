"""Self-perception: questions about catalogue items that the entities alone must answer.

RecGPT-V2 (arXiv 2512.14503, section 2.2) asks about an entity's attributes; its templates are
unpublished. Only what stands in an entity's text is asked, so that the text form can answer too, and
answers are JSON as the agents' are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.contexts.compression import short_title
from foretaste.agents.objects import HistoryEvent
from foretaste.agents.wording.prompting import clean, event_line, template
from foretaste.data.dataset import Dataset
from foretaste.serving.chat import Entity, Message, Part

CATEGORIES = "categories"
MOST_KINDS = 6  # attributes of a catalogue that are asked about, the most common ones
KINDS = ("copy", "value", "which")


@dataclass(frozen=True)
class Row:
    """One prompt and what must be answered.

    Attributes:
        messages: the prompt, with its entities.
        answer: the text of the answer.
        kind: of question, or which agent is asked.
        complete: whether the answer ends there; a teacher's may be cut.
    """

    messages: tuple[Message, ...]
    answer: str
    kind: str
    complete: bool = True


@dataclass(frozen=True)
class Known:
    """What may be asked about one item.

    Attributes:
        entity: in full, as a history's newest events write it.
        short: by its short name, as a compressed history writes it.
        facts: name of an attribute → value; each value stands in the full text.
    """

    entity: Entity
    short: Entity
    facts: dict[str, str]


def known_items(dataset: Dataset) -> list[Known]:
    """Every item of the catalogue, in row order."""
    attributes = dataset.items["attributes"].to_list()
    pairs = [[(one["name"], one["value"]) for one in own or ()] for own in attributes]
    names = _common(pairs)
    found = []
    for row, item_id in enumerate(dataset.item_ids):
        categories = tuple(dataset.categories_of(row))
        title = dataset.titles[row]
        text = event_line(HistoryEvent(item_id=item_id, title=title, categories=categories))
        leaf = f" ({clean(categories[-1], 30)})" if categories else ""
        facts = {name: value for name, value in pairs[row] if name in names and value in text}
        if categories:
            facts[CATEGORIES] = clean(", ".join(categories[:4]))
        full, short = Entity(item_id, text), Entity(item_id, short_title(title) + leaf)
        found.append(Known(full, short, facts))
    return found


def _common(pairs: Sequence[Sequence[tuple[str, str]]]) -> set[str]:
    """The attributes that most items have and that more than one item can share."""
    carriers: dict[str, list[str]] = {}
    for own in pairs:
        for name, value in own:
            carriers.setdefault(name, []).append(value)
    shared = {name: v for name, v in carriers.items() if len(set(v)) <= len(v) / 2}
    return set(sorted(shared, key=lambda name: -len(shared[name]))[:MOST_KINDS])


def question(items: Sequence[Known], short: Sequence[bool], kind: str, draw: Draw) -> Row:
    """One question about some items.

    Args:
        items: one or more; their numbers in the prompt begin at 1.
        short: whether each is written by its short name.
        kind: `copy` (write them out), `value` (an attribute of each) or `which` (the number of the
            one that has a value). What cannot be asked about these items becomes `copy`.
        draw: chooses the attribute and the item.
    """
    entities = [one.short if brief else one.entity for one, brief in zip(items, short, strict=True)]
    shared = set.intersection(*(set(one.facts) for one in items))
    names = sorted(name for name in shared if kind != "copy" and not any(short))
    name = names[int(draw.integers(len(names)))] if names else None
    if name is None and kind != "which":
        told = json.dumps({"items": [one.text for one in entities]}, ensure_ascii=False)
        return Row(_asked(entities, "Write every item in full."), told, "copy")
    values = [one.facts[name] if name else one.entity.text for one in items]
    if kind == "which":
        place = int(draw.integers(len(items)))
        wanted = values[place] if values.count(values[place]) == 1 else items[place].entity.text
        asked = f'Which item is "{wanted}"? Answer with its number.'
        return Row(_asked(entities, asked), json.dumps({"item": place + 1}), "which")
    told = json.dumps({"values": values}, ensure_ascii=False)
    return Row(_asked(entities, value_question(str(name))), told, "value")


Draw = np.random.Generator


def value_question(name: str) -> str:
    """How an attribute is asked for."""
    return f"Write the {clean(name.replace('_', ' '), 30)} of every item."


def _asked(entities: Sequence[Entity], asked: str) -> tuple[Message, ...]:
    parts: list[Part] = ["<data>\n"]
    for number, entity in enumerate(entities, 1):
        parts += [f"{number}. ", entity, "\n"]
    return (
        Message("system", template("system")),
        Message("user", (*parts, f"</data>\n{asked}")),
    )


def questions(
    items: Sequence[Known], rows: NDArray[np.int64], count: int, most: int, short: float, draw: Draw
) -> list[Row]:
    """`count` questions, each about 1 to `most` of the items in `rows`.

    Args:
        items: the catalogue.
        rows: items that may be asked about.
        count: of questions.
        most: items in one question.
        short: share of entities written by their short name.
        draw: decides all of it.
    """
    made = []
    for _ in range(count):
        size = int(draw.integers(1, min(most, len(rows)) + 1))
        some = [items[row] for row in draw.choice(rows, size, replace=False)]
        kind = str(draw.choice(KINDS))
        brief = [kind == "copy" and bool(draw.random() < short) for _ in some]
        made.append(question(some, brief, kind, draw))
    return made


def held_out(count: int, share: float, seed: int) -> NDArray[np.bool_]:
    """(count,) which of so many things validation alone sees: at least one, never all but one."""
    some = min(max(round(count * share), 1), max(count - 1, 0))
    kept = np.zeros(count, dtype=bool)
    kept[np.random.default_rng([seed, 7]).permutation(count)[:some]] = True
    return kept
