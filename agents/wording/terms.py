"""Which items carry which terms (words or categories), kept while single items change.

A change does not count the catalogue again: changed rows stand beside the matrices that were counted
last, and are folded into them when there are more than `_BESIDE`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_BESIDE = 1_000  # changed rows that stand beside the counted matrices
_REMEMBERED = 2_000  # items whose terms are kept as they were looked up; a kilobyte or two each
Kept = TypeVar("Kept")
Places = tuple[NDArray[np.int64], NDArray[np.int64]]  # rows, columns


@dataclass(frozen=True)
class _Counted:
    """The matrices of a catalogue as it was counted: (items, t), by row and by column."""

    present: sparse.csr_matrix
    by_term: sparse.csc_matrix


@dataclass(frozen=True)
class _Beside:
    """Rows that changed since.

    Attributes:
        terms: row → the terms that it carries now, rising.
        rows: term → those of these rows that carry it.
        stale: (counted items,) bool, whether what was counted about a row does not hold any more.
    """

    terms: dict[int, tuple[int, ...]]
    rows: dict[int, tuple[int, ...]]
    stale: NDArray[np.bool_]


@dataclass(frozen=True)
class Terms:
    """One kind of term over the catalogue. Unchangeable, but that successors share two collections.

    Attributes:
        names: the terms; those of successors follow after the first t.
        number: term → its place in `names`; of successors' terms, too.
        items: rows of the catalogue.
        held: (t,) int64, items that carry each term.
        idf: (t,) float64, log(items / items that carry it).
    """

    names: list[str]
    number: dict[str, int]
    items: int
    held: NDArray[np.int64]
    idf: NDArray[np.float64]
    _counted: _Counted
    _beside: _Beside
    _known: dict[int, frozenset[str]] = field(default_factory=dict, repr=False, compare=False)
    _rare: dict[int, str | None] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, lists: Sequence[Iterable[str]]) -> Terms:
        """From the terms of each item, in row order.

        >>> terms = Terms.of([["red", "shoe"], ["red"]])
        >>> terms.carriers("red").tolist(), terms.carriers("hat").tolist()
        ([0, 1], [])
        >>> terms.with_rows([1, 2], [["hat"], ["red"]]).carriers("red").tolist()
        [0, 2]
        """
        names: list[str] = []
        number: dict[str, int] = {}
        return cls._count(
            _numbered(range(len(lists)), lists, names, number), names, number, len(lists)
        )

    def with_rows(self, rows: Sequence[int], lists: Sequence[Iterable[str]]) -> Terms:
        """The same terms where these different rows, known or new, carry these terms instead."""
        items = max(self.items, max(rows, default=0) + 1)
        places = _numbered(rows, lists, self.names, self.number)
        if len(self._beside.terms) + len(rows) > _BESIDE:
            old = self.present.tocoo()
            kept = ~np.isin(old.row, rows)
            both = zip((old.row[kept], old.col[kept]), places, strict=True)
            all_rows, all_columns = (np.concatenate(pair) for pair in both)
            return self._count((all_rows, all_columns), self.names, self.number, items)
        held = np.zeros(len(self.names), dtype=np.int64)
        held[: len(self.held)] = self.held
        for row in rows:
            held[self.terms_of(row)] -= 1
        np.add.at(held, places[1], 1)
        beside = self._moved(rows, places)
        return Terms(self.names, self.number, items, held, _idf(items, held), self._counted, beside)

    def carriers(self, name: str) -> NDArray[np.int64]:
        """(n,) rows of the items that carry a term, rising; none for a term that no item carries."""
        column = self.number.get(name, len(self.held))
        rows = np.zeros(0, dtype=np.int64)
        if column < self._counted.present.shape[1]:
            start, stop = self._counted.by_term.indptr[column : column + 2]
            rows = self._counted.by_term.indices[start:stop].astype(np.int64)
        if not self._beside.terms:
            return rows
        own = np.asarray(self._beside.rows.get(column, ()), dtype=np.int64)
        return np.sort(np.concatenate([rows[~self._beside.stale[rows]], own]))

    def terms_of(self, row: int) -> NDArray[np.int64]:
        """(n,) places of the terms that an item carries, rising; none for a row that is not there."""
        own = self._beside.terms.get(row)
        if own is not None:
            return np.asarray(own, dtype=np.int64)
        if row >= self._counted.present.shape[0]:
            return np.zeros(0, dtype=np.int64)
        start, stop = self._counted.present.indptr[row : row + 2]
        return np.asarray(self._counted.present.indices[start:stop], dtype=np.int64)

    def names_of(self, row: int) -> frozenset[str]:
        """The terms that an item carries."""
        known = self._known.get(row)
        if known is None:
            known = frozenset(self.names[term] for term in self.terms_of(row).tolist())
            _remember(self._known, row, known)
        return known

    def rarest(self, row: int) -> str | None:
        """The term of an item that the fewest items carry; None where it has none."""
        if row not in self._rare:
            own = self.terms_of(row)
            name = self.names[own[self.idf[own].argmax()]] if len(own) else None
            _remember(self._rare, row, name)
        return self._rare[row]

    def matrix_of(self, rows: Sequence[int] | NDArray[np.int64]) -> sparse.csr_matrix:
        """(n, t) binary float32, whether each of these items carries each term."""
        found = [self.terms_of(int(row)) for row in rows]
        offsets = np.cumsum([0, *map(len, found)])
        columns = np.concatenate([*found, np.zeros(0, dtype=np.int64)])
        ones = np.ones(len(columns), dtype=np.float32)
        return sparse.csr_matrix((ones, columns, offsets), shape=(len(found), len(self.held)))

    def counts(self, rows: Sequence[int]) -> NDArray[np.int64]:
        """(t,) how many of these items carry each term."""
        found = np.zeros(len(self.held), dtype=np.int64)
        for row in rows:
            found[self.terms_of(row)] += 1
        return found

    def dense(self, rows: Sequence[int]) -> NDArray[np.float64]:
        """(n, terms in use) the items' terms weighted by idf, rows of unit length or zero."""
        part = self.matrix_of(rows)
        used = np.unique(part.indices)
        weighted = part[:, used].toarray() * self.idf[used]
        length = np.linalg.norm(weighted, axis=1, keepdims=True)
        return np.asarray(weighted / np.where(length == 0, 1, length))

    def weights(self, rows: Sequence[int], share: NDArray[np.float64]) -> NDArray[np.float64]:
        """(t,) how much each term marks these items: weighted presence × idf."""
        found = np.zeros(len(self.held))
        for row, part in zip(rows, share, strict=True):
            found[self.terms_of(row)] += part
        return np.asarray(found * self.idf)

    @cached_property
    def present(self) -> sparse.csr_matrix:
        """(items, t) binary float32, all at once; made anew after a change, so not for requests."""
        if not self._beside.terms:
            return self._counted.present
        return self.matrix_of(range(self.items))

    @cached_property
    def by_term(self) -> sparse.csc_matrix:
        """The same matrix by column."""
        return self._counted.by_term if not self._beside.terms else self.present.tocsc()

    @classmethod
    def _count(cls, places: Places, names: list[str], number: dict[str, int], items: int) -> Terms:
        """From (row, column) of every term of every item."""
        ones = np.ones(len(places[0]), dtype=np.float32)
        present = sparse.csr_matrix((ones, places), shape=(items, len(names)))
        by_term = present.tocsc()
        held = np.diff(by_term.indptr).astype(np.int64)
        beside = _Beside({}, {}, np.zeros(items, dtype=bool))
        counted = _Counted(present, by_term)
        return cls(names, number, items, held, _idf(items, held), counted, beside)

    def _moved(self, rows: Sequence[int], places: Places) -> _Beside:
        """What stands beside the counted matrices once these rows carry these terms."""
        terms, by_term = dict(self._beside.terms), dict(self._beside.rows)
        stale = self._beside.stale.copy()
        for row in rows:
            for term in terms.get(row, ()):
                by_term[term] = tuple(other for other in by_term[term] if other != row)
            terms[row] = tuple(np.sort(places[1][places[0] == row]).tolist())
            for term in terms[row]:
                by_term[term] = (*by_term.get(term, ()), row)
            if row < len(stale):
                stale[row] = True
        return _Beside(terms, by_term, stale)


def _remember(known: dict[int, Kept], row: int, kept: Kept) -> None:
    """Keep what was looked up about an item; start anew when there is too much of it."""
    if len(known) >= _REMEMBERED:
        known.clear()
    known[row] = kept


def _idf(items: int, held: NDArray[np.int64]) -> NDArray[np.float64]:
    """(t,) log(items / items that carry the term)."""
    return np.asarray(np.log(max(items, 1) / np.maximum(held, 1)))


def _numbered(
    rows: Sequence[int], lists: Sequence[Iterable[str]], names: list[str], number: dict[str, int]
) -> Places:
    """(row, column) of every term, each once an item; terms not met before are numbered."""
    found: list[tuple[int, int]] = []
    for row, terms in zip(rows, lists, strict=True):
        for term in dict.fromkeys(terms):
            if term not in number:
                names.append(term)
                number[term] = len(names) - 1
            found.append((row, number[term]))
    places = np.asarray(found, dtype=np.int64).reshape(-1, 2)
    return places[:, 0], places[:, 1]
