"""The catalogue's own vocabulary: which words and categories its items carry.

Grounded fallbacks take their tags from it, and the checks hold a model's tags and sentences to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
Places = tuple[NDArray[np.int64], NDArray[np.int64]]  # rows, columns


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
    found = (word.replace("’", "'").casefold() for word in _WORD.findall(text))
    return [word for word in found if word not in STOP_WORDS]


@dataclass(frozen=True)
class Terms:
    """One kind of term (words or categories) over the catalogue.

    Attributes:
        names: (t,) the terms.
        present: (items, t) binary matrix, whether the item carries the term.
        idf: (t,) float64, log(items / items that carry it).
        number: term → its place in `names`.
        by_term: the same matrix by column, for the items of a term.
    """

    names: list[str]
    present: sparse.csr_matrix
    idf: NDArray[np.float64]
    number: dict[str, int]
    by_term: sparse.csc_matrix

    @classmethod
    def of(cls, lists: Sequence[Iterable[str]]) -> Terms:
        """From the terms of each item, in row order."""
        number: dict[str, int] = {}
        return cls._counted(_numbered(range(len(lists)), lists, number), number, len(lists))

    def with_rows(self, rows: Sequence[int], lists: Sequence[Iterable[str]]) -> Terms:
        """The same terms where these rows, known or new, carry these terms instead."""
        number = dict(self.number)
        old = self.present.tocoo()
        kept = ~np.isin(old.row, rows)
        new_rows, new_columns = _numbered(rows, lists, number)
        places = (
            np.concatenate([old.row[kept], new_rows]),
            np.concatenate([old.col[kept], new_columns]),
        )
        return self._counted(places, number, max(self.present.shape[0], max(rows, default=0) + 1))

    @classmethod
    def _counted(cls, places: Places, number: dict[str, int], items: int) -> Terms:
        """From (row, column) of every term of every item."""
        ones = np.ones(len(places[0]), dtype=np.float32)
        present = sparse.csr_matrix((ones, places), shape=(items, len(number)))
        counts = np.asarray(present.sum(axis=0)).ravel()  # (t,)
        idf = np.log(max(items, 1) / np.maximum(counts, 1))
        return cls(list(number), present, idf, number, present.tocsc())

    def carriers(self, name: str) -> NDArray[np.int64]:
        """Rows of the items that carry a term."""
        start, stop = self.by_term.indptr[self.number[name] :][:2]
        return np.asarray(self.by_term.indices[start:stop], dtype=np.int64)

    def counts(self, rows: Sequence[int]) -> NDArray[np.int64]:
        """(t,) how many of these items carry each term."""
        found = np.zeros(len(self.names), dtype=np.int64)
        for row in rows:
            start, stop = self.present.indptr[row : row + 2]
            found[self.present.indices[start:stop]] += 1
        return found

    def dense(self, rows: Sequence[int]) -> NDArray[np.float64]:
        """(n, terms in use) the items' terms weighted by idf, rows of unit length or zero."""
        part = self.present[list(rows)]
        used = np.unique(part.indices)
        weighted = part[:, used].toarray() * self.idf[used]
        length = np.linalg.norm(weighted, axis=1, keepdims=True)
        return np.asarray(weighted / np.where(length == 0, 1, length))

    def weights(self, rows: Sequence[int], share: NDArray[np.float64]) -> NDArray[np.float64]:
        """(t,) how much each term marks these items: weighted presence × idf."""
        found = np.zeros(len(self.names))
        for row, part in zip(rows, share, strict=True):
            start, stop = self.present.indptr[row : row + 2]
            found[self.present.indices[start:stop]] += part
        return np.asarray(found * self.idf)


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
        """Rows of the items that carry more than half of the content words of `text`.

        A tag of two words matches an item that carries both; an unknown word counts as carried
        by no item.
        """
        wanted = list(dict.fromkeys(words(text)))
        known = [self.facts.number[word] for word in wanted if word in self.facts.number]
        if not known:
            return np.zeros(0, dtype=np.int64)
        hits = np.asarray(self.facts.by_term[:, known].sum(axis=1)).ravel()  # (items,)
        return np.flatnonzero(hits > len(wanted) / 2)

    def fact_words(self, row: int) -> set[str]:
        """The words that an item says about itself."""
        start, stop = self.facts.present.indptr[row : row + 2]
        return {self.facts.names[column] for column in self.facts.present.indices[start:stop]}


def _terms(items: pl.DataFrame) -> tuple[list[list[str]], list[list[str]], list[list[str]]]:
    """Of each item: its categories, the words of its title and brand, and all words about it.

    The last are what a tag is matched with.
    """
    titles = items["title"].fill_null("").to_list()
    brands = _attribute(items, "brand")
    categories = [list(names or ()) for names in items["categories"].to_list()]
    said = [words(f"{title} {brand}") for title, brand in zip(titles, brands, strict=True)]
    facts = [[*own, *words(" ".join(names))] for own, names in zip(said, categories, strict=True)]
    return categories, said, facts


def _numbered(
    rows: Sequence[int], lists: Sequence[Iterable[str]], number: dict[str, int]
) -> Places:
    """(row, column) of every term, each once an item; terms not met before extend `number`."""
    found = [
        (row, number.setdefault(term, len(number)))
        for row, terms in zip(rows, lists, strict=True)
        for term in dict.fromkeys(terms)
    ]
    places = np.asarray(found, dtype=np.int64).reshape(-1, 2)
    return places[:, 0], places[:, 1]


def _attribute(items: pl.DataFrame, name: str) -> list[str]:
    """One attribute of every item as text, empty where an item has none."""
    if "attributes" not in items.columns:
        return [""] * items.height
    return [
        next((pair["value"] or "" for pair in pairs or () if pair["name"] == name), "")
        for pairs in items["attributes"].to_list()
    ]
