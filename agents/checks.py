"""What a model's answer must hold to be used: grounded in the history, real in the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.asking import CheckFailed
from foretaste.agents.lexicon import Lexicon, words

_NUMBER = re.compile(r"\d+")
_NAME = re.compile(r"(?<![.!?]\s)(?<!^)\b[A-Z][\w'’]+")


def numbers_within(numbers: Iterable[int], count: int) -> list[int]:
    """Line numbers of a prompt (from 1) as places (from 0), each once, those that exist.

    >>> numbers_within([2, 2, 9, 1], 3)
    [1, 0]
    """
    return list(dict.fromkeys(n - 1 for n in numbers if 1 <= n <= count))


def about(text: NDArray[np.float32], rows: Sequence[int], vectors: NDArray[np.float32]) -> bool:
    """Whether a text is about these items rather than about any.

    True when its mean cosine to them is more than one standard deviation above its mean cosine
    to the whole catalogue.

    Args:
        text: (d,) unit vector.
        rows: item rows.
        vectors: (items, d) unit vectors.
    """
    likeness = vectors @ text  # (items,)
    return bool(likeness[list(rows)].mean() > likeness.mean() + likeness.std())


def valid_tag(text: str, lexicon: Lexicon, allowed: NDArray[np.bool_], taken: set[str]) -> str:
    """The key of a usable tag: its content words, sorted.

    Raises:
        CheckFailed: no content word, more than five, said before, repeating an item that the
            person already has, or matching no item that may be recommended.
    """
    found = words(text)
    key = " ".join(sorted(set(found)))
    if not 1 <= len(found) <= 5:
        raise CheckFailed(f"tag {text!r} has {len(found)} content words, not 1 to 5")
    if key in taken:
        raise CheckFailed(f"tag {text!r} repeats another tag or an item chosen before")
    if not allowed[lexicon.matching(text)].any():
        raise CheckFailed(f"tag {text!r} matches nothing in the catalogue")
    return key


def grounded_sentence(
    text: str, lexicon: Lexicon, row: int, history: Sequence[int], known: str = ""
) -> str:
    """The sentence itself when it names only facts of the item and the history.

    Held against the facts: every number, every capitalised word inside a sentence, and every
    category of the catalogue that it names. It must name at least one fact, and not stutter.

    Args:
        text: the sentence.
        lexicon: the catalogue's vocabulary.
        row: the explained item.
        history: rows of the items that the person chose.
        known: other text that the prompt stated as fact (attributes, environment, wish).
    """
    facts = set(words(known)) | lexicon.fact_words(row)
    for other in history:
        facts |= lexicon.fact_words(int(other))
    said = words(text)
    if len(said) < 3 or len(set(said)) < 0.6 * len(said):
        raise CheckFailed("the sentence is empty or repeats itself")
    if not set(said) & facts:
        raise CheckFailed("the sentence names no fact of the item or the history")
    numbers = [n for n in _NUMBER.findall(text) if n not in facts]
    names = [n for n in _NAME.findall(text) if not set(words(n)) <= facts]
    if numbers or names:
        raise CheckFailed(f"the sentence names {(numbers + names)[0]!r}, which no fact bears out")
    foreign = _foreign_category(text, lexicon, [row, *map(int, history)])
    if foreign:
        raise CheckFailed(f"the sentence says {foreign!r}, a category the items do not have")
    return " ".join(text.split())


def _foreign_category(text: str, lexicon: Lexicon, rows: Sequence[int]) -> str | None:
    """A category named in the text that none of the items carries."""
    lower = f" {' '.join(words(text))} "
    terms = lexicon.categories
    own = np.asarray(terms.present[rows].sum(axis=0)).ravel() > 0  # (categories,)
    return next(
        (
            name
            for number, name in enumerate(terms.names)
            if not own[number] and words(name) and f" {' '.join(words(name))} " in lower
        ),
        None,
    )
