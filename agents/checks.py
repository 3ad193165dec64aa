"""What a model's answer must hold to be used: grounded in the history, real in the catalogue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.asking import CheckFailed
from foretaste.agents.lexicon import Lexicon, word_list, words


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
    """The sentence itself when every word of it that says something is a fact.

    A word is borne out when the item or the history carries it (title, brand, categories), when
    the prompt stated it, or when it is glue: a word that links facts and states none. So a sentence
    about prizes, plots or people fails, however likely it sounds. It must name at least one fact,
    and say nothing three times. The glue is English; sentences in other languages fall back.

    Args:
        text: the sentence.
        lexicon: the catalogue's vocabulary.
        row: the explained item.
        history: rows of the items that the person chose.
        known: other text that the prompt stated as fact (attributes, environment, wish).
    """
    facts = {_stem(word) for word in words(known)}
    for other in (row, *history):
        facts |= {_stem(word) for word in lexicon.fact_words(int(other))}
    said = [_stem(word) for word in words(text)]
    if len(said) < 3 or max(Counter(said).values()) > 2:
        raise CheckFailed("the sentence is empty or repeats itself")
    unfounded = [word for word in words(text) if _stem(word) not in facts | GLUE]
    if unfounded:
        raise CheckFailed(f"the sentence says {unfounded[0]!r}, which no fact bears out")
    if not set(said) & (facts - GLUE):
        raise CheckFailed("the sentence names no fact of the item or the history")
    return " ".join(text.split())


def _stem(word: str) -> str:
    """A word without the endings of possessive and plural.

    >>> [_stem(word) for word in ("children's", "comedies", "films", "bus")]
    ['children', 'comedy', 'film', 'bus']
    """
    word = word.removesuffix("'s").removesuffix("'")
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] not in "su" else word


GLUE = frozenset(_stem(word) for word in word_list("glue"))
