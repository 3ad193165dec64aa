"""The imported tables with what came after them: changed items, new events, forgotten users."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foretaste.data.dataset import Dataset
from foretaste.data.text import item_titles

_SLICES = 200  # pieces of the items table in memory
REMEMBERED = 1_000  # newest live events of one user that are kept in memory


@dataclass
class People:
    """What people did since the import, in memory.

    Attributes:
        events: user id → rows of the interactions table, oldest first.
        forgotten: hashes of users whose imported rows are not shown any more.
    """

    events: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Take in events; each user's stay in the order of time."""
        with self.guard:
            for row in rows:
                own = (*self.events.get(row["user_id"], ()), row)
                ordered = sorted(own, key=lambda event: int(event["timestamp"]))
                self.events[row["user_id"]] = tuple(ordered[-REMEMBERED:])

    def forgot(self, user_id: str) -> bool:
        """Whether the user's imported rows are not shown any more."""
        return bool(self.forgotten) and user_hash(user_id) in self.forgotten

    def copy(self) -> People:
        """The people of this moment."""
        with self.guard:
            return People(dict(self.events), set(self.forgotten))

    def forget(self, user_id: str) -> None:
        """Show nothing of this user any more."""
        self.forget_hashed({user_hash(user_id)})

    def forget_hashed(self, hashes: set[str]) -> None:
        """The same for users of whom only the hash is known."""
        with self.guard:
            self.forgotten |= hashes
            for user_id in [one for one in self.events if user_hash(one) in hashes]:
                del self.events[user_id]


@dataclass(frozen=True)
class LiveDataset(Dataset):
    """A data set with the items and events that came after its import.

    Attributes:
        base: as it was imported. Its items keep their rows; new ones follow.
        people: what people did since.
        gone: rows of items that are not recommended any more.
    """

    base: Dataset
    people: People
    gone: NDArray[np.int64]

    @classmethod
    def over(cls, base: Dataset, people: People) -> LiveDataset:
        """Nothing has changed yet."""
        tables = (base.items, base.interactions, base.users, base.environment)
        made = cls(*tables, base.info, base, people, np.zeros(0, dtype=np.int64))
        return made._looked_up(base.item_ids, base.row_of, base.titles)

    def with_items(self, frame: pl.DataFrame) -> LiveDataset:
        """The same where these items, known or new, are as this table says."""
        ids: list[str] = frame["item_id"].to_list()
        new = [one for one in ids if one not in self.row_of]
        item_ids, row_of, titles = self.item_ids, self.row_of, [*self.titles, *new]
        if new:
            places = zip(new, range(len(item_ids), len(item_ids) + len(new)), strict=True)
            item_ids, row_of = [*item_ids, *new], row_of | dict(places)
        rows = [row_of[one] for one in ids]
        for row, title in zip(rows, item_titles(frame), strict=True):
            titles[row] = title
        gone = self.gone[~np.isin(self.gone, rows)]
        made = replace(self, items=_with_rows(self.items, rows, frame), gone=gone)
        return made._looked_up(item_ids, row_of, titles)

    def without(self, rows: Sequence[int]) -> LiveDataset:
        """The same where these items are not recommended any more."""
        made = replace(self, gone=np.union1d(self.gone, np.asarray(rows, dtype=np.int64)))
        return made._looked_up(self.item_ids, self.row_of, self.titles)

    def _looked_up(
        self, item_ids: list[str], row_of: dict[str, int], titles: list[str]
    ) -> LiveDataset:
        """The same with its lookups known, so that neither a change nor a request makes them anew."""
        vars(self).update(item_ids=item_ids, row_of=row_of, titles=titles)
        return self

    @cached_property
    def low_rating(self) -> float:
        """That of the import: a changed item is no reason to read all ratings again."""
        return self.base.low_rating

    @property
    def withdrawn(self) -> NDArray[np.int64]:
        """(n,) rows of items that are not recommended any more; histories may still name them."""
        return self.gone

    def events_of(self, user_id: str) -> list[dict[str, Any]]:
        """One user's interactions, imported and live, oldest first."""
        imported = [] if self.people.forgot(user_id) else self.base.events_of(user_id)
        later = self.people.events.get(user_id, ())
        if not later or not imported:
            return [*imported, *later]
        return sorted([*imported, *later], key=lambda row: int(row["timestamp"]))

    def attributes_of(self, user_id: str) -> dict[str, str] | None:
        """What the users table says about one user; None for a stranger."""
        return None if self.people.forgot(user_id) else self.base.attributes_of(user_id)

    def knows(self, user_id: str) -> bool:
        """Whether there is a user of this id."""
        imported = self.base.knows(user_id) and not self.people.forgot(user_id)
        return imported or user_id in self.people.events


def user_hash(user_id: str) -> str:
    """Under which a forgotten user is remembered as such."""
    return hashlib.sha256(user_id.encode("utf-8", "replace")).hexdigest()


def _with_rows(items: pl.DataFrame, rows: Sequence[int], frame: pl.DataFrame) -> pl.DataFrame:
    """The items table with the rows of `frame` at these rows, known or the next ones.

    Slices share their memory with the table before; many are made one now and then.
    """
    order = np.argsort(rows, kind="stable").tolist()
    parts, start = [], 0
    for place in order:
        parts += [items[start : rows[place]], frame[place : place + 1]]
        start = rows[place] + 1
    grown = pl.concat([part for part in (*parts, items[start:]) if part.height], rechunk=False)
    return grown.rechunk() if grown.n_chunks() > _SLICES else grown
