"""The grounded explanations: honest sentences without a model, that do not repeat each other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from foretaste.agents.explaining.facts import Facts
from foretaste.agents.explaining.languages import Language
from foretaste.agents.explaining.memory import Memory

_BRACKETED = 2  # categories that stand behind a title


def sentences(
    facts: Sequence[Facts], language: Language, audience: str, memory: Memory, seed: int
) -> list[str]:
    """One sentence an item, each made of a pattern of the language and of the item's facts.

    The patterns of one kind of reason are put in order once for the page: those whose words are the
    newest against the memory first (`R_div`), equal ones in an order drawn by the seed. The items
    of the page, in an order drawn from their ids, take them in turn. So neighbours differ, and
    what one item is called has no say in what is written about another.
    """
    turn = sorted(range(len(facts)), key=lambda i: _draw(seed, facts[i].item_id))
    place = {i: rank for rank, i in enumerate(turn)}
    ordered: dict[str, list[str]] = {}
    made = []
    for i, one in enumerate(facts):
        if one.kind not in ordered:
            ordered[one.kind] = _ordered(language.patterns(one.kind, audience), memory, seed)
        made.append(_written(one, ordered[one.kind], language, place[i]))
    return made


def titled(facts: Facts) -> str:
    """The title with its first categories behind it.

    >>> from foretaste.agents.explaining.sentence_guard import Thing
    >>> titled(Facts("1", Thing("Ronin", ("Action", "1998")), "people", ("Action",)))
    'Ronin (Action)'
    """
    names = facts.categories[:_BRACKETED]
    return f"{facts.item.title} ({', '.join(names)})" if names else facts.item.title


def _ordered(patterns: Sequence[str], memory: Memory, seed: int) -> list[str]:
    """Newest words first; a field in braces counts as no word that anything was said with."""
    new = memory.novelties(patterns)
    pairs = sorted(zip(new, patterns, strict=True), key=lambda p: (-p[0], _draw(seed, p[1])))
    return [pattern for _, pattern in pairs]


def _written(facts: Facts, patterns: list[str], language: Language, turn: int) -> str:
    fields = {
        "title": facts.item.title,
        "titled": titled(facts),
        "nearest": facts.evidence.title if facts.evidence else "",
        "shared": language.joined(facts.shared),
        "tag": facts.tag or "",
    }
    text = patterns[turn % len(patterns)].format(**fields)
    if facts.moment:
        text += " " + language.moments[turn % len(language.moments)].format(moment=facts.moment)
    return text


def _draw(seed: int, text: str) -> bytes:
    return hashlib.blake2b(f"{seed}\0{text}".encode("utf-8", "replace"), digest_size=8).digest()
