"""Whether an explanation says only what is so: names, numbers, attributes, and nothing else.

A sentence is read as mentions of known names with linking words between them. Whatever is neither
fails: prizes, plots and people are not in the catalogue's facts, however likely they sound.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from foretaste.agents.explaining.languages import Language
from foretaste.agents.wording.asking import CheckFailed

_PAUSE = re.compile(r"[,;:.!?()«»„“”\"–—]+(?=\s|$)|(?<=\s)[(«„“\"–—]+")
_LONGEST_SMALL = 4  # letters of words that may come more than twice


@dataclass(frozen=True)
class Thing:
    """What may be said about one item.

    Attributes:
        title: its title.
        attributes: categories, brand, year and the like, each a name or a number.
    """

    title: str
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Mention:
    """A run of words of the sentence that are words of a name, from `start` to before `stop`.

    `things` are the items that carry the name, 0 the explained one; `whole` says that the name is
    said in full, `title` that it is a title.
    """

    start: int
    stop: int
    things: frozenset[int]
    whole: bool
    title: bool


def check_sentence(
    text: str, item: Thing, chosen: Sequence[Thing], language: Language, *, known: str = ""
) -> str:
    """The sentence itself, on one line, when everything that it says is a fact.

    * Every word belongs to a name, to `known`, or to the language's linking words.
    * A number is said as it stands: 0.5 is neither 5 nor 0.50.
    * Negations, comparisons and praise stand only inside a title.
    * Parts of two titles side by side make no new name.
    * An attribute that only a chosen item has is said right after that item's title.
    * No attribute is said twice in a row, and no title twice.
    * What "you chose", or is "from your history", is an item that was chosen, never the explained one.

    Args:
        text: the sentence.
        item: the explained item.
        chosen: items of the history that the sentence may name.
        language: in which it is written.
        known: other text that counts as fact here, such as the tag that found the item.

    Raises:
        CheckFailed: with what is wrong, in words that a model can act on.
    """
    said = language.stems(text)
    _worded(said)
    mentions = _mentions(said, item, chosen, language)
    _borne_out(text, said, mentions, language, known)
    _said_once(said, mentions)
    return " ".join(text.split())


def check_facts(
    text: str, item: Thing, chosen: Sequence[Thing], language: Language, *, known: str = ""
) -> None:
    """Whether everything that a sentence says is a fact, however it is worded.

    Arguments and errors as of `check_sentence`.
    """
    said = language.stems(text)
    mentions = _mentions(said, item, chosen, language)
    _borne_out(text, said, mentions, language, known)


def _borne_out(
    text: str, said: list[str], mentions: list[_Mention], language: Language, known: str
) -> None:
    """Everything that is said is a fact."""
    _founded(text, said, mentions, language, known)
    if not mentions:
        raise CheckFailed("the sentence names no fact of the item or the history")
    clauses = _clauses(text, language)
    _unmixed(mentions, clauses)
    _attributed(said, mentions, language)
    _chosen(said, mentions, clauses, language)


def _worded(said: list[str]) -> None:
    counts = Counter(said)
    loud = any(n > (2 if len(word) > _LONGEST_SMALL else 4) for word, n in counts.items())
    if len(said) < 3 or loud:
        raise CheckFailed("the sentence is empty or repeats itself")


def _said_once(said: list[str], mentions: list[_Mention]) -> None:
    """No attribute stands beside itself ("Animation, Animation"), and no title is said twice."""
    titles = Counter(one.things for one in mentions if one.title and one.whole)
    if any(n > 1 for n in titles.values()):
        raise CheckFailed("the sentence names the same title twice")
    for one, other in pairwise(mentions):
        words, again = said[one.start : one.stop], said[other.start : other.stop]
        if one.stop == other.start and words == again and not (one.title or other.title):
            raise CheckFailed(f"the sentence says {' '.join(words)!r} twice in a row")


def _names(
    item: Thing, chosen: Sequence[Thing], language: Language
) -> list[tuple[list[str], int, bool]]:
    """(stems, item, whether a title) of every name that may be said."""
    found = []
    for number, thing in enumerate((item, *chosen)):
        found.append((language.stems(thing.title), number, True))
        found += [(language.stems(name), number, False) for name in thing.attributes]
    return [name for name in found if name[0]]


def _mentions(
    said: list[str], item: Thing, chosen: Sequence[Thing], language: Language
) -> list[_Mention]:
    """Names in the sentence from left to right, the longest where several begin.

    A run of linking words alone is no mention, unless it is a whole title.
    """
    names, small = _names(item, chosen, language), language.glue | language.claims
    found: list[_Mention] = []
    place = 0
    while place < len(said):
        best = _longest(said, place, names, small)
        if best:
            found.append(best)
        place = best.stop if best else place + 1
    return found


def _longest(
    said: list[str], start: int, names: list[tuple[list[str], int, bool]], small: frozenset[str]
) -> _Mention | None:
    runs: dict[tuple[int, bool, bool], set[int]] = {}  # (length, whole, title) → items
    for stems, number, title in names:
        length = max(_common(said[start:], stems[i:]) for i in range(len(stems)))
        named = said[start : start + length] == stems[:length]
        whole = named and all(map(str.isdigit, stems[length:]))  # a year behind it may be left out
        if length and (whole or not set(said[start : start + length]) <= small):
            runs.setdefault((length, whole, title), set()).add(number)
    if not runs:
        return None
    length, whole, title = max(runs)
    return _Mention(start, start + length, frozenset(runs[length, whole, title]), whole, title)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words both begin with."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def _founded(
    text: str, said: list[str], mentions: list[_Mention], language: Language, known: str
) -> None:
    """Every word is a name's, known, or links."""
    in_names = {place for one in mentions for place in range(one.start, one.stop)}
    alone = {one.start for one in mentions if one.stop - one.start == 1 and not one.whole}
    stated = set(language.stems(known))
    for place, (word, shown) in enumerate(zip(said, language.tokens(text), strict=True)):
        if word in stated:
            continue
        if word in language.claims and (place not in in_names or place in alone):
            raise CheckFailed(f"the sentence says {shown!r}, a claim that no fact bears out")
        if place not in in_names and word not in language.glue:
            raise CheckFailed(f"the sentence says {shown!r}, which no fact bears out")


def _clauses(text: str, language: Language) -> set[int]:
    """At which words something begins anew, after a comma, a bracket or the like."""
    begins, count = set(), 0
    for part in _PAUSE.split(text):
        begins.add(count)
        count += len(language.tokens(part))
    return begins


def _unmixed(mentions: list[_Mention], clauses: set[int]) -> None:
    """No name is made of parts of two titles."""
    for one, other in pairwise(mentions):
        parts = one.title and other.title and not one.whole and not other.whole
        joined = one.stop == other.start and other.start not in clauses
        if joined and parts and not one.things & other.things:
            raise CheckFailed("the sentence joins parts of two titles into one name")


def _attributed(said: list[str], mentions: list[_Mention], language: Language) -> None:
    """An attribute that the explained item lacks belongs to the title said just before it."""
    subject: frozenset[int] = frozenset({0})
    end = 0
    for one in mentions:
        if language.it & set(said[end : one.start]):
            subject = frozenset({0})
        if one.title:
            subject = one.things
        elif 0 not in one.things and not one.things & subject:
            name = " ".join(said[one.start : one.stop])
            raise CheckFailed(f"the sentence says {name!r} of an item that is not so filed")
        end = one.stop


def _chosen(
    said: list[str], mentions: list[_Mention], clauses: set[int], language: Language
) -> None:
    """What comes right after "you chose" or right before "which you chose" is not the explained item."""
    wrong = CheckFailed("the sentence says that the explained item was chosen before")
    own = [one for one in mentions if one.title and one.things == {0}]
    if sum(one.whole for one in own) > 1:
        raise CheckFailed("the sentence names the explained item twice")
    for one in own:
        if any(tuple(said[one.stop : one.stop + len(p)]) == p for p in language.was_chosen):
            raise wrong
    titles = {one.start: one for one in mentions if one.title}
    for phrase in language.you_chose:
        for stop in range(len(phrase), len(said)):
            if tuple(said[stop - len(phrase) : stop]) != phrase:
                continue
            after = titles.get(stop) or (None if stop + 1 in clauses else titles.get(stop + 1))
            if after and stop not in clauses and after.things == {0}:
                raise wrong
