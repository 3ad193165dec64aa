"""The catalogue's own vocabulary: which words and categories its items carry.

Grounded fallbacks take their tags from it, and the checks hold a model's tags and sentences to it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from functools import lru_cache
from importlib.resources import files

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foretaste.agents.wording.terms import Terms

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")


def word_list(name: str) -> frozenset[str]:
    """The words of `words/<name>.txt`."""
    text = files("foretaste.agents").joinpath("words", f"{name}.txt").read_text("utf-8")
    return frozenset(text.split())


STOP_WORDS = word_list("stop")


def words(text: str) -> list[str]:
    """The content words of a text, lower case, in order.

    >>> words("The Lord of the Rings, part 2")
    ['lord', 'rings', 'part', '2']
    """
    return list(_words(text))


@lru_cache(maxsize=8192)
def _words(text: str) -> tuple[str, ...]:
    found = (word.replace("’", "'").casefold() for word in _WORD.findall(text))
    return tuple(word for word in found if word not in STOP_WORDS)


class Lexicon:
    """Words and categories of every item of a catalogue."""

    def __init__(self, items: pl.DataFrame) -> None:
        self.categories, self.words, self.facts = (Terms.of(lists) for lists in _terms(items))

    def with_items(self, rows: Sequence[int], items: pl.DataFrame) -> Lexicon:
        """The same vocabulary where these rows, known or new, are these items."""
        made = copy(self)
        kinds = zip((self.categories, self.words, self.facts), _terms(items), strict=True)
        made.categories, made.words, made.facts = (
            terms.with_rows(rows, lists) for terms, lists in kinds
        )
        return made

    def matching(self, text: str) -> NDArray[np.int64]:
        """(n,) rows of the items that carry more than half of the content words of `text`.

        A tag of two words matches an item that carries both; an unknown word counts as carried
        by no item.
        """
        return np.flatnonzero(matched(self.carried(text), words(text)))

    def carried(self, text: str) -> NDArray[np.int64]:
        """(items,) how many of the content words of `text` each item carries."""
        found = np.zeros(self.facts.items, dtype=np.int64)
        for word in set(words(text)):
            found[self.facts.carriers(word)] += 1
        return found

    def title_words(self, row: int) -> frozenset[str]:
        """The content words of an item's title and brand."""
        return self.words.names_of(row)

    def fact_words(self, row: int) -> frozenset[str]:
        """The words that an item says about itself."""
        return self.facts.names_of(row)


def matched(carried: NDArray[np.int64], said: Sequence[str]) -> NDArray[np.bool_]:
    """(items,) whether each carries more than half of the different words of a text.

    Args:
        carried: (items,) how many of them each item carries, of `Lexicon.carried`.
        said: content words of the text.
    """
    return carried > len(set(said)) / 2


def _terms(items: pl.DataFrame) -> tuple[list[list[str]], list[list[str]], list[list[str]]]:
    """Of each item: its categories, the words of its title and brand, and all words about it.

    The last are what a tag is matched with.
    """
    titles = [title or "" for title in items["title"].to_list()]
    brands = _attribute(items, "brand")
    categories = [list(names or ()) for names in items["categories"].to_list()]
    said = [words(f"{title} {brand}") for title, brand in zip(titles, brands, strict=True)]
    facts = [[*own, *words(" ".join(names))] for own, names in zip(said, categories, strict=True)]
    return categories, said, facts


def _attribute(items: pl.DataFrame, name: str) -> list[str]:
    """One attribute of every item as text, empty where an item has none."""
    if "attributes" not in items.columns:
        return [""] * items.height
    return [
        next((pair["value"] or "" for pair in pairs or () if pair["name"] == name), "")
        for pairs in items["attributes"].to_list()
    ]
